"""Whether a released adapter holds the noise that its ledger states, no more and no less."""

import contextlib
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
from shared.run_files import run_files
from simulations.engine.simulation import Simulation
from simulations.flower.grid import CohortGrid
from tests.support.running.nodes import model_of

FALSE_ALARM = 1e-7
"""Of one verdict, where all is as it should be: real noise is new every time."""


def trained(grid, config, log, folder, *, simulated):
    """A run's adapter over a grid, and the one it began with."""
    made = prepare(model_of(log, config.model), config, folder)
    files = run_files(folder, str(made["name"]))
    run_federation(grid, config, files, simulated=simulated)
    return load_file(files.adapter), load_file(files.initial)


def simulated(config, log, folder, grid_of=CohortGrid):
    """The same over a simulation of a log's people."""
    simulation = Simulation(replace(config, data=replace(config.data, spec=log)))
    grid = grid_of(simulation.engine(config.model), folder / "devices")
    return trained(grid, config, log, folder, simulated=True)


@contextlib.contextmanager
def without_noise():
    """Nothing that is drawn here is anything but zero."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NoiseSource, "normal", lambda self, size: np.zeros(size))
        patch.setattr(SkellamNoise, "draw", lambda self, source, size: np.zeros(size, dtype=int))
        yield


def noise_p(real, ledger, config, log, users, folder):
    """Of as much or as little noise in an adapter as its ledger does not state.

    Noise is what is apart from a simulation of the same settings in which none is added: the same
    people, the same clip, the same coordinates. Two-sided, by the chi-squared distribution.

    Parameters
    ----------
    real : dict of str to array
        Of one round of everybody, by a server whose step is linear in the sum.
    ledger : Path
    config : ExperimentConfig
    log : str
        Of those people and no others.
    users : int
        How many they are.
    folder : Path
        New, for the simulation.
    """
    with without_noise():
        without, initial = simulated(config, log, folder)
    (event,) = [entry.event for entry in Ledger.open(ledger).entries]
    if config.privacy.trust == "distributed":
        # What is on record is of honest devices alone; all of them added their shares.
        counted = server_plan(config, users).planned("update").mechanism.counted
        z = math.sqrt(event.variance * users / counted.survivors) / event.l2_sensitivity
    else:
        z = event.noise_multiplier
    # step = rate x (sum + noise) / expected cohort
    scale = config.federation.server_lr / users * z * config.privacy.clipping_norm
    moved = [name for name in real if (without[name] != initial[name]).any()]
    apart = np.concatenate([(real[name] - without[name]).ravel() for name in moved])
    assert apart.size >= 100  # so that half the noise is seen
    cdf = stats.chi2(apart.size).cdf(float((apart.astype(np.float64) ** 2).sum()) / scale**2)
    return 2 * min(cdf, 1 - cdf)
