"""The interactions of one person, on their device, and what they said of items.

Kept by identifier, not by place in a catalogue: a catalogue may grow, and what it does not hold
waits. A row is on disk before `add` returns.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.store import shown
from client.store.database import Database
from client.store.shown import Placed, Shown
from shared.data.catalogue import Catalogue
from shared.data.log import InteractionLog
from shared.errors import DataError
from shared.files import sync_folder

FILE = "store.sqlite"
_STEPS = (
    # The first form, before files said their version.
    """
    CREATE TABLE IF NOT EXISTS interactions (
        item TEXT NOT NULL PRIMARY KEY, time INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS opinions (
        item TEXT NOT NULL PRIMARY KEY, liked INTEGER NOT NULL, time INTEGER NOT NULL
    ) STRICT;
    """,
    # The order in which equal times came stands in a column of its own.
    """
    CREATE TABLE ordered (
        place INTEGER PRIMARY KEY, item TEXT NOT NULL UNIQUE, time INTEGER NOT NULL
    ) STRICT;
    INSERT INTO ordered (item, time) SELECT item, time FROM interactions ORDER BY rowid;
    DROP TABLE interactions;
    ALTER TABLE ordered RENAME TO interactions;
    """,
    # What was shown, where the owner allows to explore.
    shown.TABLE,
)
_ALL = """
SELECT item, min(time) AS earliest, min(kind), min(place) FROM (
    SELECT item, time, 0 AS kind, place FROM interactions
    UNION ALL
    SELECT item, time, 1, rowid FROM opinions WHERE liked
) GROUP BY item ORDER BY earliest, 3, 4
"""


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

    def __post_init__(self) -> None:
        if not self.item.strip() or not _is_text(self.item):
            raise DataError(f"item {self.item[:80]!r}: expected an item's identifier")
        if not -(2**63) <= self.time < 2**63:
            raise DataError(f"time {self.time}: expected a whole number in 64 bits")


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
    """The file of one device, opened: checked, brought to this version, restored if damaged.

    Parameters
    ----------
    folder : Path
        The device's; the file is made in it if there is none.

    Raises
    ------
    DataError
        As `client.store.database.Database`.
    """

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE, _STEPS)

    def add(self, interactions: Iterable[Interaction]) -> int:
        """Keep interactions; of several with one item the first in time counts, as in a log.

        Returns
        -------
        int
            How many items are new. When this returns they are on disk, also in the copy.
        """
        rows = [(each.item, each.time) for each in interactions]
        with self._database.writing() as database:
            before = _count(database)
            database.executemany(
                "INSERT INTO interactions (item, time) VALUES (?, ?) ON CONFLICT (item) DO UPDATE "
                "SET time = excluded.time WHERE excluded.time < time",
                rows,
            )
            return _count(database) - before

    def interactions(self) -> list[Interaction]:
        """All of them, and what the person likes, oldest first; equal times as they came."""
        with self._database.reading() as database:
            return [Interaction(item, time) for item, time, *_ in database.execute(_ALL)]

    def history(self, catalogue: Catalogue) -> NDArray[np.int64]:
        """The items that a catalogue holds, as its indices, oldest first, int64 [n]."""
        known = [each.item for each in self.interactions() if each.item in catalogue]
        return np.array([catalogue.index(item) for item in known], dtype=np.int64)

    def judge(self, item: str, liked: bool | None, time: int) -> None:
        """Keep that the person likes an item, or does not want it; None takes the word back."""
        said = Interaction(item, time)
        with self._database.writing() as database:
            database.execute("DELETE FROM opinions WHERE item = ?", (item,))
            if liked is not None:
                row = (said.item, int(liked), said.time)
                database.execute("INSERT INTO opinions VALUES (?, ?, ?)", row)

    def opinions(self) -> dict[str, bool]:
        """What the person said of items: whether they like each."""
        with self._database.reading() as database:
            found = database.execute("SELECT item, liked FROM opinions")
            return {item: bool(liked) for item, liked in found}

    def show(self, slate: Iterable[Placed], time: int) -> None:
        """Keep what an exploration policy is about to show; on disk when this returns."""
        with self._database.writing() as database:
            shown.add(database, slate, time)

    def shown(self) -> list[Shown]:
        """All that exploration policies showed, oldest first, and what came of it."""
        with self._database.reading() as database:
            return shown.rows(database)

    def forget(self, item: str) -> bool:
        """Take out all that is kept of one item, in the copy too; whether there was anything."""
        with self._database.writing() as database:
            tables = ("interactions", "opinions", "shown")
            found = [
                database.execute(f"DELETE FROM {table} WHERE item = ?", (item,)).rowcount
                for table in tables
            ]
        for file in self._database.aside():  # they may hold it
            erase(file)
        return any(found)


def erase(file: Path) -> None:
    """Overwrite a file and remove it, if it is there: as gone as the file system makes it."""
    try:
        with file.open("r+b") as stream:
            stream.write(bytes(file.stat().st_size))
            stream.flush()
            os.fsync(stream.fileno())
        file.unlink()
    except FileNotFoundError:
        return
    sync_folder(file.parent)


def _is_text(item: str) -> bool:
    """Whether it can be written: half of a surrogate pair cannot."""
    try:
        return bool(item.encode())
    except UnicodeEncodeError:
        return False


def _count(database: sqlite3.Connection) -> int:
    (found,) = database.execute("SELECT count(*) FROM interactions").fetchone()
    return int(found)
