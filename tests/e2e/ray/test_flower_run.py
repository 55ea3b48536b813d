"""`flwr run .` from a clean copy, as a person who knows Flower would type it."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from shared.privacy.ledger.ledger import Ledger
from tests.support.running.superlink import program, superlink, unpack


@pytest.fixture(scope="module")
def flower(tmp_path_factory):
    """An unpacked copy and the environment of a SuperLink that waits for it."""
    with superlink(tmp_path_factory.mktemp("flwr") / "home") as environment:
        yield unpack(tmp_path_factory.mktemp("starling")), environment


def flwr_run(flower, *arguments):
    folder, environment = flower
    return subprocess.run(
        [program("flwr"), "run", ".", "--stream", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_it_prints_a_runs_metrics_and_where_its_ledger_is(flower):
    nodes = "num-supernodes=4 client-resources-num-cpus=1 init-args-num-cpus=1"
    out = flwr_run(flower, "--run-config", "rounds=1 epsilon=4", "--federation-config", nodes)
    spent = re.search(r"after 1 round\(s\): user-level epsilon ([0-9.]+)", out)
    assert spent, out
    assert float(spent[1]) == pytest.approx(4, rel=0.01)
    ranked = re.search(r"test HR@10 ([0-9.]+), NDCG@10 ([0-9.]+) over 4 people", out)
    assert ranked, out
    ledger = Ledger.open(Path(re.search(r"ledger (\S+\.jsonl)", out)[1]))
    assert [entry.release for entry in ledger.entries] == ["histogram", "update"]
    assert ledger.epsilon() == pytest.approx(float(spent[1]), abs=0.01)


@pytest.mark.slow
def test_a_mistake_is_named_with_what_to_do(flower):
    out = flwr_run(flower, "--run-config", "users=40")
    assert "there are 2 virtual nodes" in out
    assert '--federation-config "num-supernodes=40"' in out


FTRL = """
[model]
layers = 1
max_length = 12
lora_rank = 2
[train]
max_windows = 2
[privacy]
mechanism = "dp_ftrl"
min_separation = 2
"""


@pytest.mark.slow
def test_correlated_noise_and_turns_work_here_too(flower, tmp_path):
    file = tmp_path / "ftrl.toml"
    file.write_text(FTRL)
    nodes = "num-supernodes=4 client-resources-num-cpus=1 init-args-num-cpus=1"
    settings = f"config='{file}' rounds=3 epsilon=4 cohort=0.5"
    out = flwr_run(flower, "--run-config", settings, "--federation-config", nodes)
    ledger = Ledger.open(Path(re.search(r"ledger (\S+\.jsonl)", out)[1]))
    kinds = [entry.release for entry in ledger.entries]
    assert kinds == ["histogram", "training", "update", "update", "update"]
    (record,) = (ledger.path.parent / "points").glob("*.asked.jsonl")
    asked = [json.loads(line)["asked"] for line in record.read_text().splitlines()]
    assert asked[0] == asked[2] != asked[1]
    assert sorted(asked[0] + asked[1]) == [2, 3, 4, 5]  # nodes of the world's four
