"""From a `--data` argument to a population: the synthetic world, or a log from `shared.data`."""

from __future__ import annotations

import sys
from pathlib import Path

from shared.config import DataConfig, WorldConfig
from shared.data.names import WORLD
from shared.data.population import ChosenUsers, Population
from shared.data.readers.columns import parse_columns
from shared.data.readers.folder import documented
from shared.data.sources import open_log
from shared.errors import ConfigError, DataError
from simulations.world.world import World

WORLD_USERS = 600  # unless told otherwise
WORLD_LARGEST = 10**10  # users; more would not fit into a lifetime


def open_population(data: DataConfig, world: WorldConfig | None = None) -> Population:
    """The population that the settings mean.

    Parameters
    ----------
    data : DataConfig
        `spec` is `world`, a known name, or a path (see `shared.data.sources.open_log`); `users` the
        world's size, or so many users of a log, see
        `shared.data.population.ChosenUsers`.
    world : WorldConfig, optional
        What happens in the world; ignored for a log.

    Raises
    ------
    DataError
        If the data is nowhere, breaks a rule, or has fewer users.
    ConfigError
        If `columns` are of another form, or given for the world.
    """
    columns = None if data.columns is None else parse_columns(data.columns)
    if data.spec == WORLD:
        if columns:
            raise ConfigError(
                f"data.columns = {data.columns!r}: the world has no files; leave it out"
            )
        if documented(Path(WORLD)):
            sys.stderr.write("data world: the synthetic one; write ./world for the folder here\n")
        return open_world(data, world)
    log = open_log(data.spec, columns)
    return log if data.users is None else ChosenUsers(log, data.users)


def open_world(data: DataConfig, world: WorldConfig | None = None) -> World:
    """The synthetic world of these settings, whatever `data.spec` says."""
    users = WORLD_USERS if data.users is None else data.users
    if users > WORLD_LARGEST:
        raise DataError(f"data.users = {users}: the world holds at most {WORLD_LARGEST}")
    return World(users, data.world_items, data.world_seed, world or WorldConfig())
