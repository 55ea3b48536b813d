"""The documented columns of an interaction log and its items, read and validated strictly.

`interactions.csv|parquet` holds `user,item,timestamp[,...]` and `items.csv|parquet` beside it
`item,text[,...]`. Further columns are allowed and not read here. A mistake is refused, never
repaired: the message names file, row and rule.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shared.data.catalogue import Catalogue
from shared.data.log import InteractionLog
from shared.data.readers.tables import ROW, SUFFIXES, read_table
from shared.errors import DataError


def read_log(path: Path) -> InteractionLog:
    """The log at a path.

    Parameters
    ----------
    path : Path
        A folder holding `interactions.csv` or `.parquet` and `items.csv` or `.parquet`, or an
        interactions file of any name with the items file beside it.

    Raises
    ------
    DataError
        For anything the rules of `docs/data.md` refuse, naming file, row and rule.
    """
    interactions = _find(path, "interactions") if path.is_dir() else path
    if not interactions.exists():
        raise DataError(f"{path}: no such file or folder; see 'starling data ls' for known names")
    if interactions.suffix not in SUFFIXES:
        raise DataError(f"{path}: unknown kind of file; give one that ends in .csv or .parquet")
    catalogue = read_catalogue(_find(interactions.parent, "items"))
    return InteractionLog(read_interactions(interactions, catalogue), catalogue, name=str(path))


def read_catalogue(path: Path) -> Catalogue:
    """The catalogue in an items file with columns `item` and `text`.

    Raises
    ------
    DataError
        For fewer than 2 items, a repeated or blank item, or a blank text.
    """
    table = read_table(path, ("item", "text"))
    for name in ("item", "text"):
        table[name] = _filled(path, table, name)
    again = table["item"].duplicated()
    if again.any():
        row = _first(table, again)
        raise DataError(f"{path}, row {row[ROW]}: item {row['item']!r} is listed twice; keep one")
    try:
        return Catalogue(tuple(table["item"]), tuple(table["text"]))
    except DataError as error:
        raise DataError(f"{path}, row {table[ROW].iloc[-1]}: {error}") from None


def read_interactions(path: Path, catalogue: Catalogue) -> pd.DataFrame:
    """Validated interactions in file order: `user` and `item` as str, `timestamp` as numbers.

    A timestamp is a finite number, or an ISO 8601 date and time throughout the file (read as UTC
    where it names no zone, and turned into seconds since 1970).

    Raises
    ------
    DataError
        For a blank user or item, an item that the catalogue lacks, or a timestamp that is missing
        or not finite.
    """
    table = read_table(path, ("user", "item", "timestamp"))
    for name in ("user", "item"):
        table[name] = _filled(path, table, name)
    unknown = ~table["item"].isin(catalogue.item_ids)
    if unknown.any():
        row = _first(table, unknown)
        raise DataError(
            f"{path}, row {row[ROW]}: item {row['item']!r} is not in the items file;"
            " add it there or drop the row"
        )
    table["timestamp"] = _timestamps(path, table)
    return table


def _find(folder: Path, stem: str) -> Path:
    """The one file of that name in the folder, in either format."""
    found = [folder / (stem + suffix) for suffix in SUFFIXES if (folder / (stem + suffix)).exists()]
    names = " or ".join(stem + suffix for suffix in SUFFIXES)
    if not found:
        raise DataError(f"{folder}: no {names}; both interactions and items are needed")
    if len(found) > 1:
        raise DataError(f"{folder}: both {names.replace(' or ', ' and ')}; keep one")
    return found[0]


def _filled(path: Path, table: pd.DataFrame, name: str) -> pd.Series:
    """The column as text; refuses the first row where it is missing or blank."""
    column = table[name]
    blank = column.isna() | (column.astype(str).str.strip() == "")
    if blank.any():
        raise DataError(f"{path}, row {_first(table, blank)[ROW]}: {name} is empty; fill it in")
    return column.astype(str)


def _timestamps(path: Path, table: pd.DataFrame) -> pd.Series:
    raw = table["timestamp"]
    if raw.dtype.kind == "M":  # dates already, in Parquet
        times = _seconds(raw)
    else:
        times = pd.to_numeric(raw, errors="coerce")
        if times.isna().all():  # no numbers at all: perhaps written as dates
            times = _seconds(pd.to_datetime(raw, format="ISO8601", errors="coerce", utc=True))
    bad = ~np.isfinite(times.to_numpy(dtype=np.float64, na_value=np.nan))
    if bad.any():
        row = _first(table, pd.Series(bad))
        raise DataError(
            f"{path}, row {row[ROW]}: timestamp {str(row['timestamp'])!r} is not a finite number;"
            " every row needs one (or, in every row, an ISO 8601 date)"
        )
    return times.astype(np.int64) if times.dtype.kind == "i" else times.astype(np.float64)


def _seconds(dates: pd.Series) -> pd.Series:
    zoned = dates.dt.tz_localize("UTC") if dates.dt.tz is None else dates
    return (zoned - pd.Timestamp(0, tz="UTC")).dt.total_seconds()


def _first(table: pd.DataFrame, where: pd.Series) -> dict[str, Any]:
    """The first row where the condition holds, by column."""
    position = int(where.to_numpy().argmax())
    return {str(name): table[name].iloc[position] for name in table.columns}
