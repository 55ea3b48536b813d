"""The raw columns of a file, every row remembering where it stood, and the search for them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError

_NAMES = {  # what columns are called elsewhere
    "user": ("uid", "customer", "reviewer", "visitor", "member", "person", "account"),
    "item": ("movie", "asin", "product", "article", "song", "book", "business", "iid"),
    "timestamp": ("time", "ts", "date", "datetime", "when", "unixreviewtime"),
    "text": ("title", "name", "description"),
}


@dataclass(frozen=True)
class Column:
    """One column as its file holds it.

    Attributes
    ----------
    values : sequence of (str or None), or int64 [n]
        None where nothing is stored.
    kind : str
        `text`, `whole`, `number` (floats), `decimal`, `instant`, or what a Parquet file calls
        anything else.
    digits : int
        Of int64 values of times: a value is values / 10^digits.
    """

    values: Sequence[str | None] | NDArray[np.int64]
    kind: str = "text"
    digits: int = 0


@dataclass(frozen=True)
class Table:
    """The wanted columns of a file.

    Attributes
    ----------
    path : Path
    rows : sequence of int
        Where each row stands: the line of a text file on which it starts, the row of a Parquet
        file, from 1.
    columns : dict of str to Column
        By role, as `user`.
    names : dict of str to str
        What the file calls them, where it is not the role.
    """

    path: Path
    rows: Sequence[int]
    columns: Mapping[str, Column]
    names: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def refusal(self, position: int, message: str) -> DataError:
        """The error of one row."""
        return DataError(f"{self.path}, row {self.rows[position]}: {message}")

    def name(self, role: str) -> str:
        """What the file calls a column."""
        return self.names.get(role, role)


def names_in(
    header: list[str], wanted: Mapping[str, str], either: Collection[str]
) -> dict[str, str]:
    """By role, the column to look for; in a role of `either` its own name may stand instead."""
    return {
        role: role if role in either and role in header and name not in header else name
        for role, name in wanted.items()
    }


class MissingColumnError(DataError):
    """A wanted column is not in the header.

    Attributes
    ----------
    role : str
    near : str or None
        The column that seems to be meant.
    """

    def __init__(self, message: str, role: str, near: str | None) -> None:
        super().__init__(message)
        self.role, self.near = role, near


def place_of(path: Path, header: list[str], role: str, wanted: Mapping[str, str]) -> int:
    """Where the wanted column of a role stands in the header.

    Raises
    ------
    MissingColumnError
        If it is not there, naming the one that seems to be meant.
    DataError
        If it is there more than once, or if the header is none.
    """
    name = wanted[role]
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise DataError(f"{path}, row 1: more than one column {name!r}; keep one")
    found = ", ".join(one if one.isidentifier() else repr(one) for one in header[:20])
    start = f"{path}, row 1: no column {name!r} (columns: {found})"
    free = [one for one in header if one not in wanted.values()]
    named = len(free) < len(header) or any(_nearest(free, *one) for one in wanted.items())
    if not named and any(re.fullmatch(r"[-+.:0-9]+", one) for one in header):
        raise DataError(f"{start}; the first line must name the columns")
    near = _nearest(free, role, name)
    if near is None:
        raise MissingColumnError(f"{start}; rename one {name!r}", role, None)
    raise MissingColumnError(f"{start}; {near!r} is near: rename it {name!r}", role, near)


def _nearest(header: list[str], role: str, name: str) -> str | None:
    if role in header:
        return role
    plain = {re.sub(r"[\W_]", "", one).lower(): one for one in reversed(header)}
    close = difflib.get_close_matches(name.lower().replace("_", ""), plain, n=1, cutoff=0.75)
    for known in (*close, *(f"{role}{end}" for end in ("id", "name")), *_NAMES.get(role, ())):
        for one, written in plain.items():
            if one == known or (len(known) > 3 and one.startswith(known)):
                return written
    return None
