"""One point of the curve: the unmodified ServerApp over virtual clients, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from flwr.serverapp import ServerApp
from safetensors.numpy import load_file

from server.app import Listener, listener
from server.app import app as server_app
from server.checkpoint import ServerState, load
from server.prepare import prepare
from server.release.moments import Moments
from server.release.popularity import first_iterate
from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.metrics import NOT_RELEASED
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.seal import digests
from shared.privacy.ledger.spent import spent
from shared.privacy.plan.summed import noise_heard
from shared.privacy.plan.terms import device_terms
from shared.run_files import RunFiles, RunFolder, point_name, run_files
from simulations.engine.references import own_start, popularity_private
from simulations.flower.grid import nodes_of, run_app
from simulations.results import POPULARITY_FROM, Point, Tree
from simulations.sweep.environment import environment, worked_in
from simulations.sweep.machines import Machines, open_grid
from simulations.sweep.participation import check_participation


def run_point(
    simulation: Machines,
    config: ExperimentConfig,
    directory: Path,
    on_round: Listener,
    app: ServerApp = server_app,
) -> Point:
    """Run one point, or return what it left when it already completed.

    Parameters
    ----------
    config : ExperimentConfig
        The point's own settings: `at_epsilon(experiment, epsilon, seed)`.
    directory : Path
        The sweep's folder; a checkpoint of this point found there is continued.
    on_round : callable
        Told of every round.

    Raises
    ------
    ConfigError
        If what it left was damaged.
    """
    name = point_name(config.privacy.epsilon, config.seed)
    files = run_files(directory, name)
    # Sealed once: a later resumption must not vouch for a ledger that was altered since.
    if not files.sealed.exists():
        run_config = prepare(simulation.engine(config.model).recommender, config, directory)
        environments = worked_in(files.environments, environment(simulation))
        _federate(simulation, config, run_config, on_round, app)
        outcome = Point.outcome(files.outcome)
        found = dict(outcome.stated)
        found["references"] = _beside(simulation, config, files)
        with simulation.sealing:
            found.update(_spent_by_all(config, nodes_of(simulation.population), files, outcome))
        found["environments"] = environments
        found["adapter"] = str(files.adapter.relative_to(directory))
        Point(found).write(files.sealed, digests(directory, files.released))
    return Point.read(files.sealed)


def _federate(
    simulation: Machines,
    config: ExperimentConfig,
    run_config: Mapping[str, str | bool],
    on_round: Listener,
    app: ServerApp,
) -> None:
    """Run the ServerApp; one that completed before checks its ledger and evaluates again."""
    simulation.data.keep(RunFolder(Path(str(run_config["directory"]))).data)
    token = listener.set(on_round)
    try:
        with open_grid(simulation, config.model, run_config) as grid:
            run_app(app, grid, run_config)
    finally:
        listener.reset(token)


def _beside(simulation: Machines, config: ExperimentConfig, files: RunFiles) -> Tree:
    """How well the model ranked before its first round, and the released histogram does alone.

    Without rounds the model is its own start, and beside itself it is not compared.
    """
    found: dict[str, Tree] = {}
    if config.federation.fixed_rounds:
        state = load(files.checkpoint) or ServerState(np.zeros(0))
        initial, users = load_file(files.initial), len(simulation.population)
        noise = noise_heard(config, users, "moments", len(state.moments) or 1)
        told = state.popularity, Moments.of(state, noise)
        start = own_start(simulation, config, first_iterate(config, users, initial, *told))
        found["start"] = start | {"metrics_status": NOT_RELEASED}
    if files.popularity.exists():
        alone = popularity_private(simulation, config, load_file(files.popularity)["counts"])
        about = {"computed_from": POPULARITY_FROM, "metrics_status": NOT_RELEASED}
        found["popularity_private"] = alone | about
    return found


def _spent_by_all(
    config: ExperimentConfig, nodes: Sequence[int], files: RunFiles, outcome: Point
) -> Tree:
    """What the server's ledger shows, the devices' ledgers, or one beside the other."""
    users = len(nodes)
    terms = device_terms(config, users)
    if terms is None:
        return spent(Ledger.open(files.ledger), config, users)
    if not files.devices.exists():
        raise ConfigError(
            f"{files.devices.name}: no device took part in any round; expect more with --cohort, "
            "or give more --rounds"
        )
    devices = DeviceLedgers.open(files.devices)
    check_participation(devices, config, nodes, terms)
    if not files.ledger.exists():
        return spent(devices, config, users)
    inner = {**outcome.table("example"), **spent(devices, config, users)}
    return {**spent(Ledger.open(files.ledger), config, users), "example": inner}
