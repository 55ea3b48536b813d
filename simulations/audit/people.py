"""On whose data a run is replayed: its own where they are here, else as many made-up people."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from shared.config import DataConfig, EngineConfig, ExperimentConfig
from shared.data.names import WORLD
from shared.data.salted import SaltedDigest
from shared.errors import ConfigError, DataError, ModelError
from shared.run_files import RunFolder, run_files
from simulations.audit.attacks.reconstruction import BIAS
from simulations.audit.replay.same import arrays_of
from simulations.engine.simulation import Simulation
from simulations.results import Results

_LEAST_ITEMS, _MOST_ITEMS = 20, 100_000


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
        return _made_up(directory, config, results, "a deployment's people keep their data")
    digest = RunFolder(directory).data
    try:
        data = SaltedDigest.read(digest) if digest.exists() else None
        simulation = Simulation(config, data=data)
        if results.users != len(simulation.population):
            raise DataError(f"the run was about {results.users} people")
    except (ConfigError, DataError) as error:
        gone = isinstance(error, DataError)
        why = "its own data are not here" if gone else "what is here are other data"
        return _made_up(directory, config, results, why)
    words = f"on its own data, {len(simulation.population)} people"
    return People(simulation, simulation.config, own=True, words=words)


def _made_up(directory: Path, config: ExperimentConfig, results: Results, why: str) -> People:
    users = results.users
    if users is None:
        stated = results.data.get("users")
        raise ConfigError(
            f"results.json: data: users = {stated!r}: expected a whole number above 0"
        )
    items = max(_LEAST_ITEMS, _items(directory, results))
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


def _items(directory: Path, results: Results) -> int:
    """How many items the run had: as it states, else by rows of its adapters; 0: not known."""
    stated = results.data.get("items")
    if type(stated) is int:
        return stated
    found = 0
    for point in results.points:
        name = results.point_files(point.target, point.get("seed"))
        try:
            arrays = arrays_of(run_files(directory, name).adapter)
        except ModelError:
            continue
        found = max(found, min(len(arrays.get(BIAS, ())), _MOST_ITEMS))
    return found
