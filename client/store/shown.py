"""What an exploration policy showed to the person, with the chance it had: one row a place.

The columns are those of any log of slates (`simulations.world.slates`, docs/exploration.md).
Whether a row was clicked is not kept but follows from what the person said: the last showing of an
item before they liked it counts, and a word that is taken back takes its click with it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

TABLE = """
CREATE TABLE shown (
    number INTEGER PRIMARY KEY, slate INTEGER NOT NULL, position INTEGER NOT NULL,
    item TEXT NOT NULL, propensity REAL NOT NULL, fit REAL NOT NULL, policy TEXT NOT NULL,
    strength REAL NOT NULL, time INTEGER NOT NULL
) STRICT;
"""
_ADD = """
INSERT INTO shown (slate, position, item, propensity, fit, policy, strength, time)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_ALL = """
SELECT slate, position, item, propensity, fit, policy, strength, time,
    EXISTS (
        SELECT 1 FROM opinions AS said
        WHERE said.item = row.item AND said.liked AND said.time >= row.time AND NOT EXISTS (
            SELECT 1 FROM shown AS later
            WHERE later.item = row.item AND later.number > row.number AND later.time <= said.time
        )
    )
FROM shown AS row ORDER BY number
"""


@dataclass(frozen=True)
class Placed:
    """One place of a slate before anybody saw it.

    Attributes
    ----------
    position : int
        From 0, the top.
    item : str
    propensity : float
        Chance that this policy, given the items above, put this item here; in (0, 1].
    fit : float
        How well the model found the item to fit, in standard deviations over what was open.
    policy : str
        Of `client.serving.exploration.NAMES`.
    strength : float
    """

    position: int
    item: str
    propensity: float
    fit: float
    policy: str
    strength: float


@dataclass(frozen=True)
class Shown:
    """The same, kept: in which slate, counted from 1, when, and whether it was clicked."""

    slate: int
    position: int
    item: str
    propensity: float
    fit: float
    policy: str
    strength: float
    time: int
    clicked: bool


def add(database: sqlite3.Connection, slate: Iterable[Placed], time: int) -> None:
    """Keep one slate, in a transaction of the caller's."""
    (last,) = database.execute("SELECT coalesce(max(slate), 0) FROM shown").fetchone()
    database.executemany(_ADD, [(last + 1, *astuple(each), time) for each in slate])


def rows(database: sqlite3.Connection) -> list[Shown]:
    """All that was shown, oldest first, each slate from the top down."""
    names = [each.name for each in fields(Shown)]
    found = (dict(zip(names, row, strict=True)) for row in database.execute(_ALL))
    return [Shown(**row | {"clicked": bool(row["clicked"])}) for row in found]
