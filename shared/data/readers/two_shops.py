"""Two shops with shared customers: histories over both, and a held-out item in each.

`train_F2.txt`, `valid_F2.txt` and `test_F2.txt` hold two rows a user, tab separated: the user, the
number n of items they share, and n + 1 times `item|place|place`. The rows agree in all but the last
item, which is the user's next in the second shop and in the first. The item lists give title and
category. Order is known, times are not: an interaction's timestamp is its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from shared.data.catalogue import Catalogue
from shared.data.log import InteractionLog
from shared.data.readers.tables import ROW, csv_rows, read_table
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
    catalogue = _catalogue(folder)
    users: list[str] = []
    rows: list[tuple[str, str, int]] = []
    for file in ROWS:
        for user, items, last in _pairs(folder / file, catalogue):
            users.append(user)
            rows += [(user, item, place) for place, item in enumerate(items)]
            rows += [(user, item, len(items)) for item in last]
    frame = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    return InteractionLog(frame, catalogue, name=name, users=users)


def _pairs(path: Path, catalogue: Catalogue) -> Iterator[tuple[str, list[str], list[str]]]:
    """User, shared items and the two last items, from every two rows."""
    lines = csv_rows(path, delimiter="\t")
    for line, first in lines:
        second = next(lines, (line, []))[1]
        user, items = _row(path, line, first, catalogue)
        other, again = _row(path, line + 1, second, catalogue)
        if (user, items[:-1]) != (other, again[:-1]):
            raise DataError(f"{path}, row {line + 1}: does not share the history of the row above")
        yield user, items[:-1], [items[-1], again[-1]]


def _row(path: Path, line: int, fields: list[str], catalogue: Catalogue) -> tuple[str, list[str]]:
    filled = [field for field in fields if field]
    if len(filled) < 3 or not filled[1].isdigit() or len(filled) != int(filled[1]) + 3:
        raise DataError(f"{path}, row {line}: expected a user, a number n and n + 1 items")
    items = [field.partition("|")[0] for field in filled[2:]]
    for item in items:
        if item not in catalogue:
            raise DataError(f"{path}, row {line}: item {item!r} is in neither item list")
    return filled[0], items


def _catalogue(folder: Path) -> Catalogue:
    """Both shops' items, as `title. category`."""
    texts: dict[str, str] = {}
    for file in ITEMS:
        table = read_table(folder / file, ("idAfter", "item_title", "item_attribute"))
        columns = (table[name] for name in ("idAfter", "item_title", "item_attribute", ROW))
        for item, title, category, row in zip(*columns, strict=True):
            if item in texts:
                raise DataError(f"{folder / file}, row {row}: item {item!r} is listed twice")
            texts[item] = ". ".join(part.strip() for part in (title, category) if part.strip())
    return Catalogue(tuple(texts), tuple(texts.values()))
