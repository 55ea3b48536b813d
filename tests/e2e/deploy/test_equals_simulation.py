"""Real devices in exact secure sums compute what a simulation of the same people does."""

import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from server.federation import run_federation
from server.prepare import prepare
from shared.privacy.plan.summed import summed_form
from shared.run_files import run_files
from simulations.engine.simulation import Simulation
from simulations.flower.grid import CohortGrid
from tests.support.federations import point_config
from tests.support.running.nodes import USERS, Loopback, Node, model_of, write_log

pytestmark = pytest.mark.usefixtures("flower")

ROUNDS = 3


def trained(grid, config, log, folder, *, simulated):
    made = prepare(model_of(log, config.model), config, folder)
    files = run_files(folder, str(made["name"]))
    run_federation(grid, config, files, simulated=simulated)
    return load_file(files.adapter), load_file(files.initial)


def test_without_noise_the_adapter_is_a_simulations(tiny_bert, tmp_path):
    """Within one step a round of the grid that contributions travel on. What is added up is a mean
    (half a step at most) times the server's rate; the rest is left to what gradients make of it."""
    (tmp_path / "log").mkdir()
    log = str(write_log(tmp_path / "log"))
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
