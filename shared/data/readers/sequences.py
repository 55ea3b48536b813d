"""Logs published as one line per user: `test.txt` holds `user item item ...`, oldest first.

`item_list.txt` names the items: `org_id remap_id title category`, separated by spaces, quoted. The
format states order but no times, so an interaction's timestamp is its place in the sequence.
"""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np

from shared.data.log import InteractionLog
from shared.data.readers import schema
from shared.data.readers.table import Column, Table
from shared.data.readers.tables import csv_rows, separated_by
from shared.errors import DataError

_COLUMNS = ["org_id", "remap_id", "title", "category"]


def read_sequences(folder: Path, name: str) -> InteractionLog:
    """The whole sequences (those of `test.txt`); users in the order of the lines.

    Raises
    ------
    DataError
        If a file is missing or a row is not as described.
    """
    catalogue = _catalogue(folder / "item_list.txt")
    path = folder / "test.txt"
    rows = [(line, [one for one in row if one]) for line, row in csv_rows(path, delimiter=" ")]
    rows = [(line, row) for line, row in rows if row]
    _check_separator(path, rows)
    if not rows:
        raise DataError(f"{path}: the file is empty; expected lines of a user and their items")
    users = Table(path, [line for line, _ in rows], {"user": Column([row[0] for _, row in rows])})
    met = [(line, row[0], item, place) for line, row in rows for place, item in enumerate(row[1:])]
    columns = {
        "user": Column([user for _, user, _, _ in met]),
        "item": Column([item for _, _, item, _ in met]),
        "timestamp": Column(np.array([place for *_, place in met], dtype=np.int64), "whole"),
    }
    table = Table(path, [line for line, *_ in met], columns)
    return schema.log([table] if met else [], catalogue, name, users)


def _check_separator(path: Path, rows: list[tuple[int, list[str]]]) -> None:
    """Refuse lines that something else than blanks separates: whole lines would be people."""
    for separator in "\t,;|:":
        holding = [(line, row) for line, row in rows if separator in row[0]]
        for line, row in holding:
            user, _, rest = row[0].partition(separator)
            # Of a person with items, an identifier may hold it, unless nothing else follows or
            # everybody's does.
            if (
                (user and len(row) == 1 and rest)
                or (not rest and len(row) > 1)
                or (separator != ":" and len(holding) == len(rows))
            ):
                found = separated_by(separator, 0, separator)
                raise DataError(
                    f"{path}, row {line}: looks separated by {found}, expected blanks; write "
                    "'user item item ...'"
                )


def _catalogue(path: Path) -> schema.Items:
    rows = csv_rows(path, delimiter=" ")
    header = rows[0][1] if rows else []
    if header != _COLUMNS:
        raise DataError(
            f"{path}, row 1: columns {' '.join(header)[:80]!r}, expected {' '.join(_COLUMNS)!r}; "
            "the folder was taken for sequences as movielens-1m is published (test.txt, "
            "item_list.txt). Of another form, write interactions.csv and items.csv (docs/data.md)"
        )
    for line, fields in rows[1:]:
        if len(fields) != len(_COLUMNS):
            raise DataError(
                f"{path}, row {line}: {len(fields)} fields, the header names {len(_COLUMNS)}"
            )
    plain = [[" ".join(html.unescape(field).split()) for field in row] for _, row in rows[1:]]
    table = Table(
        path,
        [line for line, _ in rows[1:]],
        {
            "item": Column([item for _, item, _, _ in plain]),
            "title": Column([title for _, _, title, _ in plain]),
            "category": Column([category for *_, category in plain]),
        },
        {"item": "remap_id"},
    )
    genres = schema.texts(table, "category", optional=True)
    texts = [
        f"{title}. {listed.replace('|', ', ')}" if listed else title
        for title, listed in zip(schema.texts(table, "title"), genres, strict=True)
    ]
    return schema.items([(table, texts)])
