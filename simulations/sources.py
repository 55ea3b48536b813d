"""From a `--data` argument to a population: the synthetic world, or a log from `shared.data`."""

from __future__ import annotations

from shared.data.population import FirstUsers, Population
from shared.data.sources import open_log
from shared.errors import DataError
from simulations.world import World

WORLD = "world"
WORLD_USERS = 600  # unless told otherwise
WORLD_LARGEST = 10**10  # users; more would not fit into a lifetime


def open_population(spec: str, users: int | None = None, world_seed: int = 0) -> Population:
    """The population that `config.data` means.

    Parameters
    ----------
    spec : str
        `world`, a known name, or a path (see `shared.data.sources.open_log`).
    users : int, optional
        The world's size, or only the first so many users of a log.
    world_seed : int
        Of the world, >= 0; ignored for a log.

    Raises
    ------
    DataError
        If the data is nowhere, breaks a rule, or has fewer users.
    """
    if spec == WORLD:
        if users is not None and users > WORLD_LARGEST:
            raise DataError(f"users = {users}: the world holds at most {WORLD_LARGEST}")
        return World(users=WORLD_USERS if users is None else users, seed=world_seed)
    log = open_log(spec)
    return log if users is None else FirstUsers(log, users)
