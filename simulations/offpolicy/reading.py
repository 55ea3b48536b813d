"""Logs of what was shown, from tables: our own columns, or those of the Open Bandit Dataset."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.data.readers import schema
from shared.data.readers.columns import read_items
from shared.data.readers.folder import find, suffix_of, twins, unknown_kind
from shared.data.readers.table import MissingColumnError, Table
from shared.data.readers.tables import read_table
from shared.errors import DataError
from simulations.offpolicy.feedback import Floats, Indices, LoggedFeedback, stretches

# Of a column that must be there, what it is called elsewhere (Open Bandit's among them).
_CALLED = {
    "item": ("item", "item_id"),
    "propensity": ("propensity", "propensity_score", "action_prob"),
    "click": ("click", "clicked"),
}
_OPTIONAL = ("user", "slate", "position", "timestamp")
# Below this nothing is drawn in practice, and powers of its inverse are no numbers any more.
_TINY = 1e-12


def read_feedback(path: Path) -> LoggedFeedback:
    """The log in a table.

    Parameters
    ----------
    path : Path
        A .csv or .parquet file, or a folder that holds one called `slates`. Columns are `item`,
        `propensity` and `click`, and, where there are such, `user`, `slate`, `position` and
        `timestamp`; or those of the Open Bandit Dataset. An items file beside it lists what could
        be shown; without one it is what was.

    Raises
    ------
    DataError
        Naming file and row, for a missing column, a propensity outside [1e-12, 1], a click
        outside [0, 1], a place or an item twice in a slate, an item that is not listed, or fewer
        than two items.
    """
    file = find(path, "slates", "give the log itself") if path.is_dir() else path
    if not file.exists():
        raise DataError(f"{file}: there is no such file; give a log of what was shown")
    if suffix_of(file) is None:
        raise DataError(f"{file}: {unknown_kind(file)}")
    table = _table(file)
    columns = table.columns
    items = schema.identifiers(table, "item").values
    item_ids = _listed(file, table, items)
    index = {item: number for number, item in enumerate(item_ids)}
    users = schema.identifiers(table, "user").values if "user" in columns else None
    slates = schema.identifiers(table, "slate").values if "slate" in columns else None
    named = _places(table) if "position" in columns else np.zeros(len(table), dtype=np.int64)
    times, arrivals = _times(file, table, item_ids)
    rows = list(range(len(table)))
    people = _codes(users or slates or rows)
    groups = _codes(rows if slates is None else list(zip(people.tolist(), slates, strict=True)))
    times = _earliest(times, groups)
    order = np.lexsort((named, groups, times, people))
    _check_places(table, order, groups, named)
    names, place = np.unique(named[order], return_inverse=True)
    found = LoggedFeedback(
        name=str(path),
        item_ids=item_ids,
        items=np.array([index[one] for one in items], dtype=np.int64)[order],
        places=place.astype(np.int64),
        place_names=tuple(names.tolist()),
        rewards=_numbers(table, "click", (0, 1), "0, 1, or a reward between")[order],
        propensities=_numbers(table, "propensity", (_TINY, 1), f"{_TINY:g} to 1")[order],
        people=people[order],
        slates=np.cumsum(np.diff(groups[order], prepend=groups[order[:1]]) != 0),
        times=times[order],
        arrivals=arrivals,
        clicked_is_gone=False,
    )
    _check_shown(table, order, found)
    gone = users is not None and not _shows_again(found)
    return dataclasses.replace(found, clicked_is_gone=gone)


def _table(file: Path) -> Table:
    """The columns that there are; reads again for each that is called otherwise, or not there."""
    wanted = {role: names[0] for role, names in _CALLED.items()}
    wanted |= dict(zip(_OPTIONAL, _OPTIONAL, strict=True))
    while True:
        try:
            return read_table(file, wanted)
        except MissingColumnError as error:
            role = error.role
            if role in _OPTIONAL:
                del wanted[role]
                continue
            others = _CALLED[role]
            tried = others.index(wanted[role]) + 1
            if tried == len(others):
                raise DataError(
                    f"{file}, row 1: no column {others[0]!r} (nor {', '.join(others[1:])}); a log "
                    "of what was shown has item, propensity and click"
                ) from None
            wanted[role] = others[tried]


def _listed(file: Path, table: Table, items: Sequence[str]) -> tuple[str, ...]:
    """Everything that could be shown, in order."""
    seen = dict.fromkeys(items)
    if not twins(file.parent, "items.csv"):
        if len(seen) < 2:
            raise DataError(f"{file}: shows one item only; there is nothing else to show")
        return tuple(sorted(seen, key=lambda one: (len(one), one)))
    listed = read_items(file.parent)
    for item in seen:
        if item not in listed:
            raise table.refusal(items.index(item), f"item {item!r} is not in the items file")
    return listed.item_ids


def _times(file: Path, table: Table, item_ids: Sequence[str]) -> tuple[Indices, Indices]:
    """When rows were shown, and from when on items could be; without times the rows follow."""
    always = np.full(len(item_ids), np.iinfo(np.int64).min)
    if "timestamp" not in table.columns:
        return np.arange(len(table)), always
    when = schema.times(table)
    if not twins(file.parent, "items.csv"):
        return when.ticks, always
    try:
        listed = read_table(find(file.parent, "items"), {"item": "item", "arrival": "arrival"})
    except MissingColumnError:
        return when.ticks, always
    come = schema.times(listed, "arrival")
    digits = max(when.digits, come.digits)
    return when.ticks * 10 ** (digits - when.digits), come.ticks * 10 ** (digits - come.digits)


def _numbers(table: Table, role: str, between: tuple[float, float], told: str) -> Floats:
    """A column of numbers within two ends, float64 [n]."""
    found = np.empty(len(table))
    for row, value in enumerate(table.columns[role].values):
        try:
            found[row] = float(value or "")
        except ValueError:
            found[row] = math.nan
        if not between[0] <= found[row] <= between[1]:
            raise table.refusal(row, f"{table.name(role)} = {value}: expected {told}")
    return found


def _places(table: Table) -> Indices:
    found = _numbers(table, "position", (0, 2**31), "a whole number from 0")
    if len(wrong := np.flatnonzero(found != np.floor(found))):
        value = table.columns["position"].values[wrong[0]]
        raise table.refusal(int(wrong[0]), f"position = {value}: expected a whole number from 0")
    return found.astype(np.int64)


def _codes(values: Sequence[object]) -> Indices:
    """Numbers from 0 in order of first appearance."""
    known: dict[object, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int64)


def _earliest(times: Indices, groups: Indices) -> Indices:
    """The time of each row's slate: that of its first row."""
    first = np.full(int(groups.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, groups, times)
    return first[groups]


def _check_places(table: Table, order: Indices, groups: Indices, named: Indices) -> None:
    again = (np.diff(groups[order]) == 0) & (np.diff(named[order]) == 0)
    if again.any():
        row = int(order[1:][again][0])
        raise table.refusal(row, f"position = {named[row]}: twice in one slate; number its places")


def _check_shown(table: Table, order: Indices, log: LoggedFeedback) -> None:
    """Refuse what is said to have been shown and cannot have been."""
    early = np.flatnonzero(log.arrivals[log.items] > log.times)
    if len(early):
        item = log.item_ids[log.items[early[0]]]
        raise table.refusal(int(order[early[0]]), f"item {item!r} is shown before it arrives")
    pairs = np.lexsort((log.items, log.slates))  # as sorted, so that the lower place is second
    same = (np.diff(log.slates[pairs]) == 0) & (np.diff(log.items[pairs]) == 0)
    if same.any():
        row = int(pairs[1:][same][0])
        item = log.item_ids[log.items[row]]
        told = f"item {item!r}: twice in one slate; what stands above is no candidate"
        raise table.refusal(int(order[row]), told)


def _shows_again(log: LoggedFeedback) -> bool:
    """Whether somebody was shown what they had clicked in an earlier slate."""
    for rows in stretches(log.people):
        items, clicked = log.items[rows], log.rewards[rows] > 0
        if not clicked.any():
            continue
        gone = set[int]()
        for slate in stretches(log.slates[rows]):
            if not gone.isdisjoint(items[slate].tolist()):
                return True
            gone.update(items[slate][clicked[slate]].tolist())
    return False
