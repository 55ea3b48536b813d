"""A log cut into logs of one person each: what every device is made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.config import DataConfig
from shared.data.log import InteractionLog
from shared.data.population import smallest
from shared.data.readers.tables import write_csv
from shared.data.sources import open_log
from shared.errors import ConfigError
from simulations.world.files import write_world
from simulations.world.sources import open_world


def opened(spec: str, folder: Path) -> InteractionLog:
    """The log that `--data` means; the world is written to a folder first, as a log."""
    if spec != "world":
        return open_log(spec)
    return open_log(str(write_world(open_world(DataConfig()), folder)))


def chosen(log: InteractionLog, clients: int, named: Sequence[str]) -> list[str]:
    """Identifiers of those who take part: the named ones, or those with the smallest keys.

    Raises
    ------
    ConfigError, DataError
        If the log lacks one of them, or has fewer people.
    """
    if named:
        if len(set(named)) != clients:
            raise ConfigError(f"--users: names {len(set(named))} people, --clients says {clients}")
        return [log.user_id(log.user_index(name)) for name in named]
    if clients > len(log):
        raise ConfigError(f"--clients {clients}: the log has {len(log)} people")
    return [log.user_id(log.user_of(key)) for key in smallest(log.keys, clients)]


def write_people(log: InteractionLog, users: Sequence[str], folder: Path) -> Path:
    """Write a log of some people over all items; times are places in each one's history."""
    folder.mkdir(parents=True)
    items = log.catalogue.item_ids
    rows = (
        (user, items[item], time)
        for user in users
        for time, item in enumerate(log.history(log.user_index(user)).tolist())
    )
    write_csv(folder / "interactions.csv", ("user", "item", "timestamp"), rows)
    write_csv(folder / "items.csv", ("item", "text"), zip(items, log.catalogue.texts, strict=True))
    return folder
