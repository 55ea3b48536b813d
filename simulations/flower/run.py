"""`flwr run .`: what Flower's own command brings, made into a run of ours.

Flower gives a grid of virtual nodes and the flat settings of `[tool.flwr.app.config]`, overridden
by `--run-config`. Person i of the data is the node of partition i.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from logging import WARNING
from pathlib import Path

from flwr.app import Context
from flwr.supercore import log
from flwr.superlink.grid import InMemoryGrid

from server.prepare import prepare
from shared.config import ExperimentConfig, at_epsilon, load_toml
from shared.config.presets import override, preset_file
from shared.data.salted import SaltedDigest
from shared.errors import ConfigError, EngineError
from shared.run_files import RunFolder, directory_of
from simulations.engine.simulation import Simulation
from simulations.flower.before import refuse_data, refuse_empty_rounds, warnings
from simulations.flower.grid import nodes_of
from simulations.flower.people_grid import PeopleGrid

Settings = Mapping[str, str | int | float | bool]

_SETTLED = 1.0  # seconds without a new node: registering one takes less than a millisecond
_LOOK = 0.05  # seconds until the next look
_PATIENCE = 600  # seconds until the first, against waiting for ever: a busy machine takes minutes


def prepared(grid: InMemoryGrid, context: Context) -> tuple[PeopleGrid, dict[str, str | bool]]:
    """A grid of the people, and the run configuration that the ServerApp reads.

    Parameters
    ----------
    grid : InMemoryGrid
        Of Flower's simulation runtime; its nodes may still be registering.
    context : Context
        Run configuration: the keys of `[tool.flwr.app.config]`.

    Raises
    ------
    ConfigError, DataError
        If a setting is out of range, the nodes are not as many as the people, or nothing could be
        shown of these. Nothing was made then.
    EngineError
        If no node registers.
    """
    nodes = _registered(grid)
    settings = context.run_config
    epsilon, seed = float(settings["epsilon"]), int(settings["seed"])
    directory = directory_of(context.run_config, context.run_id)
    file = RunFolder(directory).data
    kept = SaltedDigest.read(file) if file.exists() else None
    simulation = Simulation(experiment(settings, len(nodes)), data=kept)
    point = at_epsilon(simulation.config, epsilon, seed)
    refuse_data(simulation)
    refuse_empty_rounds(simulation, [point])
    for warning in warnings(simulation, [point]):
        log(WARNING, "%s", warning)
    run_config = prepare(simulation.engine(point.model).recommender, point, directory)
    simulation.data.keep(file)
    people = PeopleGrid(grid, nodes, nodes_of(simulation.population))
    people.protocol = simulation.protocol.stated()
    return people, run_config


def experiment(settings: Settings, nodes: int) -> ExperimentConfig:
    """The experiment that flat settings mean, on as many people as there are nodes.

    Raises
    ------
    ConfigError
        If a setting is out of range, or other than `nodes` people are asked for.
    """
    users = int(settings["users"])
    if users not in (0, nodes):
        raise ConfigError(
            f"users = {users}: there are {nodes} virtual nodes, one per person; "
            f'add --federation-config "num-supernodes={users}", or leave users out'
        )
    named = str(settings["config"])
    file = Path(named) if named else preset_file(str(settings["preset"]))
    flags = {
        "data.spec": settings["data"],
        "data.users": nodes,
        "federation.rounds": settings["rounds"],
        "federation.cohort": settings["cohort"],
    }
    return override(load_toml(file), flags, preset=not named)


def _registered(grid: InMemoryGrid) -> list[int]:
    """All nodes, by partition: Flower registers them while the ServerApp already runs."""
    started = changed = time.monotonic()
    before = 0
    while True:
        nodes = [node.node_id for node in grid.state.get_node_info()]  # in order of registration
        now = time.monotonic()
        if len(nodes) != before:
            before, changed = len(nodes), now
        elif nodes and now - changed > _SETTLED:
            return nodes
        elif not nodes and now - started > _PATIENCE:
            raise EngineError(f"no virtual node registered within {_PATIENCE} s")
        time.sleep(_LOOK)
