"""Correlated noise from one command to a checked run, killed on the way."""

import shutil
import signal

import numpy as np
import pytest
from safetensors.numpy import load_file

from shared.privacy.ledger.ledger import Ledger
from tests.support.command import command, results, start, stop_when

SETTINGS = """
[data]
spec = "world"
users = 40
negatives = 30
[model]
layers = 1
max_length = 12
lora_rank = 2
item_rank = 2
projection_rank = 4
[train]
max_windows = 2
[federation]
rounds = 12
cohort = 0.25
server_optimizer = "fedavgm"
[privacy]
min_separation = 4
max_participations = 3
mechanism = "dp_ftrl"
[sweep]
epsilons = [2.0]
references = []
"""
LEDGER, NAME = "ledger-eps-2-seed-0.jsonl", "eps-2-seed-0"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    found = tmp_path_factory.mktemp("settings") / "dp_ftrl.toml"
    found.write_text(SETTINGS)
    return found


@pytest.fixture(scope="module")
def whole(file, tiny_bert, tmp_path_factory, own_folders):
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = command("simulate", "--config", file, "--backbone", tiny_bert, "--out", folder)
    assert done.code == 0, done.err
    return folder


def test_a_run_is_one_release_and_verifies(whole):
    point = results(whole)["points"][0]
    assert point["epsilon"] == pytest.approx(2.0, rel=1e-3)
    assert point["correlation"]["max_participations"] == 3
    assert "who took part in which round" in point["adversary"]
    kinds = [entry.release for entry in Ledger.open(whole / LEDGER).entries]
    assert kinds == ["histogram", "training", *["update"] * 12]
    done = command("verify", whole)
    assert done.code == 0, done.out
    assert "Claims, ledgers and files agree" in done.out


@pytest.fixture(scope="module")
def killed(file, tiny_bert, tmp_path_factory, own_folders):
    """A run that was killed on the way. Not to be altered: copy it."""
    run = tmp_path_factory.mktemp("killed") / "run"
    process = start("simulate", "--config", file, "--backbone", tiny_bert, "--out", run, "--quiet")
    stop_when(process, run / LEDGER, lines=6, by=signal.SIGKILL)
    assert len(Ledger.recover(run / LEDGER)) < 14
    return run


@pytest.fixture
def run(killed, tmp_path):
    return shutil.copytree(killed, tmp_path / "run")


def test_killed_and_resumed_it_ends_the_same(run, whole):
    done = command("simulate", "--resume", run, "--quiet")
    assert done.code == 0, done.err
    ours, theirs = (load_file(at / "adapters" / f"{NAME}.safetensors") for at in (run, whole))
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name], tensor)
    entries = [Ledger.open(at / LEDGER).entries for at in (run, whole)]
    assert entries[0] == entries[1]
    asked = [(at / "points" / f"{NAME}.asked.jsonl").read_bytes() for at in (run, whole)]
    assert asked[0] == asked[1]
    assert command("verify", run).code == 0


def test_without_the_record_of_who_was_asked_it_does_not_go_on(run):
    (run / "points" / f"{NAME}.asked.jsonl").unlink()
    done = command("simulate", "--resume", run, "--quiet")
    assert done.code == 3
    assert "nobody's limits can be kept" in done.error
