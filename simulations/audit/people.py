"""On whose data a run is replayed: its own where they are here, else as many made-up people."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from shared.config import DataConfig, EngineConfig, ExperimentConfig
from shared.data.names import WORLD
from shared.data.salted import SaltedDigest
from shared.errors import ConfigError, DataError
from shared.run_files import RunFolder
from simulations.engine.simulation import Simulation
from simulations.results import Results

_LEAST_ITEMS = 20


@dataclass(frozen=True)
class People:
    """Data and model of a replay.

    Attributes
    ----------
    simulation : Simulation
    config : ExperimentConfig
        The run's settings, with these data.
    own : bool
        Whether these are the run's own people.
    words : str
        On whose data, to go behind "run again".
    """

    simulation: Simulation
    config: ExperimentConfig
    own: bool
    words: str


def opened(directory: Path, results: Results) -> People:
    """The run's own people, or as many of the synthetic world.

    Raises
    ------
    ConfigError, ModelError
        If its settings are of no use, or its model is not here.
    """
    try:
        config = results.experiment()
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"results.json: config: not a run's settings ({error})") from None
    config = dataclasses.replace(config, engine=EngineConfig(dtype=config.engine.dtype))
    if not results.simulated:
        return _made_up(config, results, "a deployment's people keep their data")
    digest = RunFolder(directory).data
    try:
        data = SaltedDigest.read(digest) if digest.exists() else None
        simulation = Simulation(config, data=data)
        if results.users != len(simulation.population):
            raise DataError(f"the run was about {results.users} people")
    except (ConfigError, DataError) as error:
        return _made_up(config, results, str(error))
    words = f"on its own data, {len(simulation.population)} people"
    return People(simulation, simulation.config, own=True, words=words)


def _made_up(config: ExperimentConfig, results: Results, why: str) -> People:
    items, users = results.data.get("items"), results.users
    if users is None or type(items) is not int or items < _LEAST_ITEMS:
        raise ConfigError(
            f"results.json: data: users = {users}, items = {items}: expected whole numbers, items "
            f"from {_LEAST_ITEMS}"
        )
    data = DataConfig(
        spec=WORLD,
        users=users,
        world_items=items,
        evaluated_users=config.data.evaluated_users,
        negatives=min(config.data.negatives, items - 2),
    )
    changed = dataclasses.replace(config, data=data)
    simulation = Simulation(changed)
    words = f"on {users} made-up people and {items} made-up items ({why})"
    return People(simulation, simulation.config, own=False, words=words)
