"""Whoever knows all data but one interaction finds nothing in what a run leaves to try it on."""

import dataclasses
import hashlib
import json
import re

import pytest
from safetensors import safe_open

from shared.config import ExperimentConfig, at_epsilon, settings_hash
from shared.data.salted import SaltedDigest
from shared.request import Request
from shared.run_files import RunFolder
from simulations.engine.simulation import Simulation
from simulations.sweep.sweep import run_sweep
from tests.support.federations import point_config

ITEMS = "abcdefgh"
KNOWN = [("u1", "abc"), ("u2", "bcde"), ("u3", "efg")]  # and of the last person all but the last
LAST = ("u4", "gha")
TRUE = "d"


def write_log(folder, last):
    """A log of four people, of whom the last met one more item."""
    folder.mkdir()
    histories = [*KNOWN, (LAST[0], LAST[1] + last)]
    rows = [f"{user},{item},{at}" for user, met in histories for at, item in enumerate(met)]
    texts = [f"{item},text {item}" for item in ITEMS]
    for name, lines in (
        ("interactions.csv", ["user,item,timestamp", *rows]),
        ("items.csv", ["item,text", *texts]),
    ):
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def settings(backbone, spec) -> ExperimentConfig:
    """One private point of one round; the folder's name is the same for all hypotheses."""
    return point_config(
        backbone,
        data={"spec": str(spec), "negatives": 4},
        federation={"rounds": 1, "cohort": 4.0},
        sweep={"epsilons": [2.0], "references": ["popularity"]},
    )


@pytest.fixture(scope="module")
def left(tiny_bert, tmp_path_factory):
    """The folder of a finished run on the true log, and its settings."""
    folder = tmp_path_factory.mktemp("true")
    config = settings(tiny_bert, write_log(folder / "log", TRUE))
    run_sweep(config, folder / "run", quiet=True)
    return folder / "run", config


def hypotheses():
    return [item for item in ITEMS if item not in LAST[1]]


def told(run, config):
    """All that a run gives away, as text: its files but the working state, and its messages."""
    texts = [str(path) for path in run.rglob("*")]
    for path in run.rglob("*"):
        if path.is_file() and path.parent.name != "points":
            texts.append(path.read_bytes().decode("latin-1"))
    policy = run / "points" / "eps-2-seed-0.policy.json"
    texts.append(policy.read_text())
    with safe_open(run / "adapters" / "eps-2-seed-0.safetensors", "np") as stream:
        point = json.loads(stream.metadata()["settings"])
        texts.append(json.dumps(point))
    opened = at_epsilon(Simulation(config).config, 2.0, 0)
    request = Request("update", opened, 4, settings_hash(opened), policy.read_text())
    texts.append(json.dumps(request.fields()))
    return "\n".join(texts)


def hashes(population, config):
    """What can be computed of a hypothesis: of the log, and of settings that name it."""
    digest = population.digest
    yield digest
    yield hashlib.sha256(digest.encode()).hexdigest()
    tree = json.dumps([dataclasses.asdict(config), digest], default=str)
    yield hashlib.sha256(tree.encode()).hexdigest()


def test_no_hypothesis_is_confirmed_by_a_hash(left, tmp_path):
    run, config = left
    found = set(re.findall(r"[0-9a-f]{64}", told(run, config)))
    assert len(found) > 5  # heads, seals, settings, weights
    kept = SaltedDigest.read(RunFolder(run).data)
    confirmed, by_salt = [], []
    for item in hypotheses():
        folder = write_log(tmp_path / f"log-{item}", item)
        data = dataclasses.replace(config.data, spec=str(folder))
        opened = Simulation(dataclasses.replace(config, data=data))
        confirmed += [item for one in hashes(opened.population, opened.config) if one in found]
        by_salt += [item] if kept.matches(opened.population) else []
    assert confirmed == []
    assert by_salt == [TRUE]  # with the salt one can: so the search above could have found it


def test_settings_policy_and_requests_are_the_same_whatever_the_item(tiny_bert, tmp_path):
    """No hash in them can confirm anything: they do not depend on it."""
    log = tmp_path / "log"
    seen = set()
    for item in hypotheses():
        write_log(log, item)
        opened = at_epsilon(Simulation(settings(tiny_bert, log)).config, 2.0, 0)
        seen.add(json.dumps(Request("update", opened, 4, settings_hash(opened)).fields()))
        for file in log.iterdir():
            file.unlink()
        log.rmdir()
    assert len(seen) == 1
