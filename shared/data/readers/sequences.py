"""Logs published as one line per user: `test.txt` holds `user item item ...`, oldest first.

`item_list.txt` names the items: `org_id remap_id title category`, separated by spaces, quoted. The
format states order but no times, so an interaction's timestamp is its place in the sequence.
"""

from __future__ import annotations

import html
from pathlib import Path

import pandas as pd

from shared.data.catalogue import Catalogue
from shared.data.log import InteractionLog
from shared.data.readers.tables import csv_rows
from shared.errors import DataError


def read_sequences(folder: Path, name: str) -> InteractionLog:
    """The whole sequences (those of `test.txt`); users in the order of the lines.

    Raises
    ------
    DataError
        If a file is missing or a row is not as described.
    """
    catalogue = _catalogue(folder / "item_list.txt")
    path = folder / "test.txt"
    users: list[str] = []
    rows: list[tuple[str, str, int]] = []
    for line, fields in csv_rows(path, delimiter=" "):
        user, *items = [field for field in fields if field]
        users.append(user)
        for place, item in enumerate(items):
            if item not in catalogue:
                raise DataError(f"{path}, row {line}: item {item!r} is not in item_list.txt")
            rows.append((user, item, place))
    frame = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    return InteractionLog(frame, catalogue, name=name, users=users)


def _catalogue(path: Path) -> Catalogue:
    items: dict[str, str] = {}
    for line, fields in list(csv_rows(path, delimiter=" "))[1:]:
        if len(fields) != 4:
            raise DataError(f"{path}, row {line}: {len(fields)} fields, expected 4")
        _, item, title, category = (" ".join(html.unescape(field).split()) for field in fields)
        genres = category.replace("|", ", ")
        items[item] = f"{title}. {genres}" if genres else title
    return Catalogue(tuple(items), tuple(items.values()))
