"""Example-level training: vmap in the cohort equals Opacus on one device at a time."""

import json

import numpy as np
import pytest

from shared.privacy.ledger.device_ledgers import DeviceLedgers
from simulations.flower.grid import CohortGrid, SequentialGrid
from simulations.world.world import World
from tests.support.federations import federate, point_config
from tests.support.tiny import Edited, make_engine, random_adapter, relative, with_micro_batch

pytestmark = pytest.mark.usefixtures("flower")

TOLERANCE = 1e-4
SHORT = {0: [], 1: [7], 2: [3, 9], 3: [4, 5, 6]}
LOCAL = {"unit": "example", "trust": "local", "epsilon": 8.0, "delta": 1e-3}

CASES = {
    "local": {"privacy": LOCAL},
    "local, several steps, sampled examples": {
        "privacy": LOCAL | {"example_sampling": 0.6},
        "train": {"local_steps": 2, "weight_decay": 0.01},
    },
    "local, few participations, sampled histogram": {
        "privacy": LOCAL | {"max_participations": 1},
        "federation": {"popularity_cohort": 0.5},
    },
    "local, all have spent theirs after a round": {
        "privacy": LOCAL | {"max_participations": 1},
        "federation": {"cohort": 1.0},
    },
    "central": {"privacy": {"unit": "example", "example_sampling": 0.7}},
    "both": {"privacy": {"unit": "both", "example_epsilon": 6.0}},
}


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(Edited(World(users=24, items=60), SHORT), tiny_bert)


@pytest.fixture(scope="module")
def one_by_one(engine, tiny_bert, tmp_path_factory):
    """The run of a case through the real ClientApp, device and Opacus, computed once."""
    done = {}

    def run(case):
        if case not in done:
            folder = tmp_path_factory.mktemp("sequential")
            with pytest.MonkeyPatch.context() as patch:
                grid = SequentialGrid(engine, folder / "devices" / "point")
                done[case] = federate(folder, grid, settings(tiny_bert, case), patch)
        return done[case]

    return run


def settings(backbone, case):
    sections = CASES[case] | {"federation": {"cohort": 12.0} | CASES[case].get("federation", {})}
    return point_config(backbone, **sections)


@pytest.mark.parametrize(("micro_batch", "batching"), [(1, "packed"), (5, "packed"), (5, "padded")])
@pytest.mark.parametrize("case", CASES)
def test_batched_equals_opacus_one_by_one(
    case, micro_batch, batching, engine, one_by_one, tiny_bert, tmp_path, monkeypatch
):
    slow = one_by_one(case)
    grid = CohortGrid(
        with_micro_batch(engine, micro_batch, batching), tmp_path / "devices" / "point"
    )
    fast = federate(tmp_path, grid, settings(tiny_bert, case), monkeypatch)
    assert len(fast.totals) == len(slow.totals) == 4
    for number, (ours, theirs) in enumerate(zip(fast.totals, slow.totals, strict=True)):
        spent = case == "local, all have spent theirs after a round" and number > 1
        assert (np.linalg.norm(theirs) > 0) != spent
        if spent:
            assert not ours.any()
            continue
        assert relative(ours, theirs) < TOLERANCE, f"sum of release {number}"
    assert relative(fast.adapter, slow.adapter) < TOLERANCE
    assert relative(slow.adapter, random_adapter(engine.schema).numpy()) > 0.05
    assert fast.outcome["metrics"] == slow.outcome["metrics"]
    kept = [run.folder / "devices" / "point" for run in (fast, slow)]
    if case == "central":
        assert not any(folder.exists() for folder in kept)
    else:
        ours, theirs = (DeviceLedgers.open(folder) for folder in kept)
        assert (ours.devices, len(ours)) == (theirs.devices, len(theirs))
        assert ours.histories() == theirs.histories()


def test_devices_account_over_all_rounds(one_by_one):
    """Not one round's epsilon: who took part in three rounds and the histogram spent it all."""
    run = one_by_one("local")
    ledgers = DeviceLedgers.open(run.folder / "devices" / "point")
    by_length = sorted(ledgers.records(), key=len)
    costs = {}
    for entries in by_length:
        costs[len(entries)] = cost(entries, run.outcome["delta"])
    assert sorted(costs) == list(costs)
    assert len(costs) > 1  # the sampled cohort makes devices differ
    assert sorted(costs.values()) == list(costs.values())
    assert ledgers.epsilon() == pytest.approx(max(costs.values()), abs=1e-3)
    assert max(costs.values()) <= 8.0 * (1 + 1e-6)


def cost(entries, delta):
    """By dp_accounting's own composition, outside our accountant."""
    from dp_accounting.pld.pld_privacy_accountant import PLDAccountant

    accountant = PLDAccountant()
    for entry in entries:
        accountant.compose(entry.event)
    return accountant.get_epsilon(delta)


def test_a_device_takes_part_no_more_often_than_planned(one_by_one):
    run = one_by_one("local, few participations, sampled histogram")
    ledgers = DeviceLedgers.open(run.folder / "devices" / "point")
    rounds = [[e.round for e in record if e.release == "update"] for record in ledgers.records()]
    assert max(len(taken) for taken in rounds) == 1
    participants = [entry["participants"] for entry in run.outcome["history"]]
    assert participants[-1] < participants[0]  # those who had spent theirs stayed away


def test_noise_is_on_and_the_sum_arrives_noised(one_by_one):
    local, central = one_by_one("local").outcome, one_by_one("central").outcome
    assert local["noise_multiplier"] > 0.5
    assert all(entry["noise_norm"] == 0 for entry in local["history"])  # the server adds none
    assert all(entry["noise_norm"] > 0 for entry in central["history"])
    assert local["trust"] == "local"
    json.dumps(local)
