"""Two shops with shared customers: histories over both, and a held-out item in each.

`train_F2.txt`, `valid_F2.txt` and `test_F2.txt` hold two rows a user, tab separated: the user, the
number n of items they share, and n + 1 times `item|place|place`. The rows agree in all but the last
item, which is the user's next in the second shop and in the first. The item lists give title and
category. Order is known, times are not: an interaction's timestamp is its place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.data.log import InteractionLog
from shared.data.readers import schema
from shared.data.readers.table import Column, Table
from shared.data.readers.tables import csv_rows, read_table
from shared.errors import DataError

ITEMS = ("item_listA_F.csv", "item_listO_AA_F.csv")  # Arts, then Office
ROWS = ("train_F2.txt", "test_F2.txt", "valid_F2.txt")  # in the order of the users' numbers


def read_two_shops(folder: Path, name: str = "amazon-arts-office") -> InteractionLog:
    """One history per user, over both shops: what they share, then the two last items.

    Both last items have the same place, so the order of the rows decides: the second shop's first.
    Starling's own split applies to the whole (the first shop's item is the test target); which
    users the publisher meant for training, validation and test is not used.

    Raises
    ------
    DataError
        If a file is missing or a row is not as described.
    """
    catalogue = schema.items([_listed(folder / file) for file in ITEMS])
    seen: set[str] = set()
    tables = [table for file in ROWS if len(table := _met(folder / file, seen))]
    return schema.log(tables, catalogue, name)


def _met(path: Path, seen: set[str]) -> Table:
    """What users met, from every two rows; nobody may be among those seen before."""
    lines = csv_rows(path, delimiter="\t")
    rows: list[int] = []
    users: list[str] = []
    items: list[str] = []
    places: list[int] = []
    for (line, first), (next_line, second) in zip(
        lines[::2], [*lines[1::2], (0, [])][: len(lines[::2])], strict=True
    ):
        user, met = _row(path, line, first)
        other, again = _row(path, next_line or line + 1, second)
        if (user, met[:-1]) != (other, again[:-1]):
            raise DataError(f"{path}, row {next_line}: does not share the history of the row above")
        if user in seen:  # in another spelling, too: `schema` refuses that
            raise DataError(f"{path}, row {line}: user {user!r} is listed twice; keep one")
        seen.add(user)
        users += [user] * (len(met) + 1)
        items += [*met, again[-1]]
        rows += [line] * len(met) + [next_line]
        places += [*range(len(met)), len(met) - 1]
    columns = {
        "user": Column(list(users)),
        "item": Column(list(items)),
        "timestamp": Column(np.array(places, dtype=np.int64), "whole"),
    }
    return Table(path, rows, columns)


def _row(path: Path, line: int, fields: list[str]) -> tuple[str, list[str]]:
    filled = [field for field in fields if field]
    number = filled[1].lstrip("0") or "0" if len(filled) > 2 else ""
    if number != str(len(filled) - 3):
        raise DataError(f"{path}, row {line}: expected a user, a number n and n + 1 items")
    return filled[0], [field.partition("|")[0] for field in filled[2:]]


def _listed(path: Path) -> tuple[Table, list[str]]:
    """One shop's items, as `title. category`."""
    wanted = {"item": "idAfter", "title": "item_title", "category": "item_attribute"}
    table = read_table(path, wanted)
    parts = zip(
        schema.texts(table, "title", optional=True),
        schema.texts(table, "category", optional=True),
        strict=True,
    )
    return table, [". ".join(part.strip() for part in pair if part.strip()) for pair in parts]
