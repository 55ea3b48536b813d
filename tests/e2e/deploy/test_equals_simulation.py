"""Real devices in secure sums compute what a simulation of the same people does, and its noise."""

import math

import numpy as np
import pytest

from shared.privacy.mechanisms.skellam import SkellamNoise
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.summed import summed_form
from tests.support.federations import point_config
from tests.support.privacy.noised import FALSE_ALARM, noise_p, simulated, trained
from tests.support.running.nodes import USERS, Loopback, Node, write_log

pytestmark = pytest.mark.usefixtures("flower")

ROUNDS = 3


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").mkdir()
    return str(write_log(tmp_path / "log"))


def test_without_noise_the_adapter_is_a_simulations(log, tiny_bert, tmp_path):
    """Within one step a round of the grid that contributions travel on. What is added up is a mean
    (half a step at most) times the server's rate; the rest is left to what gradients make of it."""
    config = point_config(
        tiny_bert,
        epsilon=math.inf,
        federation={
            "rounds": ROUNDS,
            "cohort": 1.0,
            "secure_aggregation": "auto",
            "server_optimizer": "fedavgm",
            "server_lr": 0.3,
        },
        model={"moments_rank": 0},
        privacy={"delta": 1e-2},
    )
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    for node in nodes:
        node.caps("epsilon = inf")
    real, initial = trained(Loopback(nodes), config, log, tmp_path / "real", simulated=False)
    virtual, _ = simulated(config, log, tmp_path / "virtual")
    assert real.keys() == virtual.keys()
    moved = max(np.abs(real[name] - initial[name]).max() for name in real)
    apart = max(np.abs(real[name] - virtual[name]).max() for name in real)
    step = summed_form(config, USERS, "update", 1).grid.step
    assert apart <= ROUNDS * step < moved * 1e-3


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
