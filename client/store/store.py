"""The interactions of one person, on their device, and what they said of items.

Kept by identifier, not by place in a catalogue: a catalogue may grow, and what it does not hold
waits. A row is on disk before `add` returns.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.data.catalogue import Catalogue
from shared.data.log import InteractionLog
from shared.errors import DataError

FILE = "store.sqlite"
_PATIENCE = 30.0  # seconds, for another process that writes
_TABLES = """
CREATE TABLE IF NOT EXISTS interactions (
    item TEXT NOT NULL PRIMARY KEY, time INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS opinions (
    item TEXT NOT NULL PRIMARY KEY, liked INTEGER NOT NULL, time INTEGER NOT NULL
) STRICT;
"""
_ALL = """
SELECT item, min(time) FROM (
    SELECT item, time, 0 AS liked, rowid AS came FROM interactions
    UNION ALL SELECT item, time, 1, rowid FROM opinions WHERE liked
) GROUP BY item ORDER BY min(time), min(liked), min(came)"""


@dataclass(frozen=True)
class Interaction:
    """One thing that the person did.

    Attributes
    ----------
    item : str
        Its identifier in the catalogue.
    time : int
        Seconds since 1970, or any whole number that orders them.
    """

    item: str
    time: int


def interactions_of(log: InteractionLog, user: str) -> list[Interaction]:
    """What a log says that a person did, oldest first, their times in its unit.

    Raises
    ------
    DataError
        If the log does not know the person.
    """
    index, scale = log.user_index(user), 10**log.reading.digits
    items = [log.catalogue.item_ids[item] for item in log.history(index)]
    times = [int(time) // scale for time in log.timestamps(index)]
    return list(map(Interaction, items, times))


class Store:
    """The file of one device.

    Parameters
    ----------
    folder : Path
        The device's; the file is made in it if there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        with self._opened() as database:
            database.executescript(_TABLES)

    def add(self, interactions: Iterable[Interaction]) -> int:
        """Keep interactions; of several with one item the first in time counts, as in a log.

        Returns
        -------
        int
            How many items are new.
        """
        rows = [(each.item, each.time) for each in interactions]
        with self._opened() as database:
            before = _count(database)
            database.executemany(
                "INSERT INTO interactions VALUES (?, ?) ON CONFLICT (item) DO UPDATE SET "
                "time = excluded.time WHERE excluded.time < time",
                rows,
            )
            return _count(database) - before

    def interactions(self) -> list[Interaction]:
        """All of them, oldest first; of equal times in the order in which they came.

        What the person likes counts as one, for as long as they do.
        """
        with self._opened() as database:
            return [Interaction(*row) for row in database.execute(_ALL)]

    def history(self, catalogue: Catalogue) -> NDArray[np.int64]:
        """The items that a catalogue holds, as its indices, oldest first, int64 [n]."""
        known = [each.item for each in self.interactions() if each.item in catalogue]
        return np.array([catalogue.index(item) for item in known], dtype=np.int64)

    def judge(self, item: str, liked: bool | None, time: int) -> None:
        """Keep that the person likes an item, or does not want it; the last word counts.

        None takes the word back: nothing of it is kept.
        """
        with self._opened() as database:
            if liked is None:
                database.execute("DELETE FROM opinions WHERE item = ?", (item,))
                return
            database.execute(
                "INSERT INTO opinions VALUES (?, ?, ?) ON CONFLICT (item) DO UPDATE SET "
                "liked = excluded.liked, time = excluded.time",
                (item, int(liked), time),
            )

    def opinions(self) -> dict[str, bool]:
        """What the person said of items: whether they like each."""
        with self._opened() as database:
            found = database.execute("SELECT item, liked FROM opinions")
            return {item: bool(liked) for item, liked in found}

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection whose transaction is on disk, or undone, when this ends."""
        try:
            database = sqlite3.connect(self._file, timeout=_PATIENCE)
            try:
                database.execute("PRAGMA synchronous = FULL")
                with database:
                    yield database
            finally:
                database.close()
        except sqlite3.Error as error:
            raise DataError(f"{self._file}: cannot be used ({error})") from None


def _count(database: sqlite3.Connection) -> int:
    (found,) = database.execute("SELECT count(*) FROM interactions").fetchone()
    return int(found)
