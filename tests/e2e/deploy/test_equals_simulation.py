"""Real devices in secure sums compute what a simulation of the same people does, and its noise."""

import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import stats

from server.federation import run_federation
from server.prepare import prepare
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.mechanisms.skellam import SkellamNoise
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.plan import server_plan
from shared.privacy.plan.summed import summed_form
from shared.run_files import run_files
from simulations.engine.simulation import Simulation
from simulations.flower.grid import CohortGrid
from tests.support.federations import point_config
from tests.support.running.nodes import USERS, Loopback, Node, model_of, write_log

pytestmark = pytest.mark.usefixtures("flower")

ROUNDS = 3


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").mkdir()
    return str(write_log(tmp_path / "log"))


def trained(grid, config, log, folder, *, simulated):
    made = prepare(model_of(log, config.model), config, folder)
    files = run_files(folder, str(made["name"]))
    run_federation(grid, config, files, simulated=simulated)
    return load_file(files.adapter), load_file(files.initial)


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
    simulation = Simulation(replace(config, data=replace(config.data, spec=log)))
    grid = CohortGrid(simulation.engine(config.model))
    virtual, _ = trained(grid, config, log, tmp_path / "virtual", simulated=True)
    assert real.keys() == virtual.keys()
    moved = max(np.abs(real[name] - initial[name]).max() for name in real)
    apart = max(np.abs(real[name] - virtual[name]).max() for name in real)
    step = summed_form(config, USERS, "update", 1).grid.step
    assert apart <= ROUNDS * step < moved * 1e-3


FALSE_ALARM = 1e-7
"""Of one verdict below, where all is as it should be: their noise is new every time."""


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
    """Of as much or as little noise in the adapter of real devices as its ledger does not state.

    Noise is what is apart from a simulation of the same settings in which none is added: the same
    people, the same clip, the same coordinates. Two-sided, by the chi-squared distribution.
    """
    nodes = [Node(folder, log, user) for user in range(USERS)]
    real, _ = trained(Loopback(nodes), config, log, folder / "real", simulated=False)
    simulation = Simulation(replace(config, data=replace(config.data, spec=log)))
    grid = CohortGrid(simulation.engine(config.model))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NoiseSource, "normal", lambda self, size: np.zeros(size))
        patch.setattr(SkellamNoise, "draw", lambda self, source, size: np.zeros(size, dtype=int))
        without, initial = trained(grid, config, log, folder / "virtual", simulated=True)
    (entry,) = Ledger.open(next(folder.glob("real/**/*ledger*.jsonl"))).entries
    mechanism, event = server_plan(config, USERS).planned("update").mechanism, entry.event
    if config.privacy.trust == "distributed":
        # What is on record is of honest devices alone; all of them added their shares.
        shares = USERS / mechanism.counted.survivors
        z = math.sqrt(event.variance * shares) / event.l2_sensitivity
    else:
        z = event.noise_multiplier
    # step = rate x (sum + noise) / expected cohort
    scale = config.federation.server_lr / USERS * z * config.privacy.clipping_norm
    moved = [name for name in real if (without[name] != initial[name]).any()]
    apart = np.concatenate([(real[name] - without[name]).ravel() for name in moved])
    assert apart.size >= 100  # so that half the noise is seen
    cdf = stats.chi2(apart.size).cdf(float((apart.astype(np.float64) ** 2).sum()) / scale**2)
    return 2 * min(cdf, 1 - cdf)


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
