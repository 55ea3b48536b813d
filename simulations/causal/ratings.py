"""Two kinds of ratings of the same people: of items that they chose, and of random ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.data.readers import schema
from shared.data.readers.content import read_text
from shared.data.readers.table import Table
from shared.data.readers.tables import read_table
from shared.data.sources import places
from shared.errors import DataError

Floats = NDArray[np.float64]

COAT = "coat"
_CHOSEN, _RANDOM = "train.ascii", "test.ascii"
_FEATURES, _GIVEN = "user_item_features/user_features.ascii", "propensities.ascii"


@dataclass(frozen=True)
class Ratings:
    """Ratings from 1 up; 0 where there is none.

    Attributes
    ----------
    name : str
    chosen : float64 [people, items]
        Of items that people chose to rate.
    random : float64 [people, items]
        Of items that were assigned to them at random.
    people : float64 [people, features]
        What is known of people beside their ratings; of no columns where nothing is.
    given : float64 [people, items] or None
        Propensities in (0, 1] that somebody else estimated.
    """

    name: str
    chosen: Floats
    random: Floats
    people: Floats
    given: Floats | None = None


def open_ratings(spec: str) -> Ratings:
    """The ratings that a name or a folder means.

    Parameters
    ----------
    spec : str
        `coat`, looked up as known logs are; a folder in its publisher's form (`train.ascii`,
        `test.ascii`); or one with `chosen.csv` and `random.csv`, each `user,item,rating`.

    Raises
    ------
    DataError
        If there is no such folder, or a file breaks a rule.
    """
    found = next((at / COAT for at in places() if (at / COAT / _CHOSEN).exists()), None)
    folder = found if spec == COAT and found is not None else Path(spec)
    if not folder.is_dir():
        raise DataError(
            f"ratings {spec!r}: no such folder; give coat, a folder in its form ({_CHOSEN}, "
            f"{_RANDOM}), or one with chosen.csv and random.csv"
        )
    return _matrices(folder, spec) if (folder / _CHOSEN).exists() else _tables(folder, spec)


def _matrices(folder: Path, name: str) -> Ratings:
    chosen, random = _matrix(folder / _CHOSEN), _matrix(folder / _RANDOM)
    _check(name, chosen, random)
    features, given = folder / _FEATURES, folder / _GIVEN
    people = _matrix(features) if features.exists() else np.empty((len(chosen), 0))
    if len(people) != len(chosen):
        raise DataError(f"{features}: {len(people)} rows, but ratings are of {len(chosen)} people")
    theirs = _matrix(given) if given.exists() else None
    if theirs is not None:
        if theirs.shape != chosen.shape:
            raise DataError(f"{given}: {theirs.shape} propensities of {chosen.shape} ratings")
        if not ((theirs > 0) & (theirs <= 1)).all():
            raise DataError(f"{given}: a propensity outside (0, 1]")
    return Ratings(name, chosen, random, people, theirs)


def _matrix(file: Path) -> Floats:
    rows = [line.split() for line in read_text(file).splitlines() if line.strip()]
    try:
        found = np.array(rows, dtype=np.float64)
    except ValueError:
        raise DataError(f"{file}: expected rows of as many numbers each") from None
    if found.ndim != 2 or not np.isfinite(found).all() or (found < 0).any():
        raise DataError(f"{file}: expected rows of as many numbers each, none below 0")
    return found


def _tables(folder: Path, name: str) -> Ratings:
    tables: list[Table] = []
    named: list[tuple[list[str], list[str]]] = []
    for stem in ("chosen", "random"):
        file = folder / f"{stem}.csv"
        if not file.exists():
            raise DataError(f"{folder}: no {stem}.csv; both chosen and random ratings are needed")
        tables.append(table := read_table(file, {one: one for one in ("user", "item", "rating")}))
        who, what = (schema.identifiers(table, role).values for role in ("user", "item"))
        named.append((who, what))
    people = {one: n for n, one in enumerate(dict.fromkeys(named[0][0] + named[1][0]))}
    items = {one: n for n, one in enumerate(dict.fromkeys(named[0][1] + named[1][1]))}
    filled = []
    for table, (who, what) in zip(tables, named, strict=True):
        matrix = np.zeros((len(people), len(items)))
        for row, (user, item, text) in enumerate(
            zip(who, what, table.columns["rating"].values, strict=True)
        ):
            try:
                rating = float(text or "")
            except ValueError:
                rating = 0.0
            if not 1 <= rating < 1e6:
                raise table.refusal(row, f"rating = {text}: expected a number from 1 up")
            if matrix[people[user], items[item]]:
                raise table.refusal(row, f"{user!r} rates {item!r} twice; keep one rating")
            matrix[people[user], items[item]] = rating
        filled.append(matrix)
    _check(name, *filled)
    return Ratings(name, filled[0], filled[1], np.empty((len(people), 0)))


def _check(name: str, chosen: Floats, random: Floats) -> None:
    if chosen.shape != random.shape:
        raise DataError(f"ratings {name}: {chosen.shape} chosen but {random.shape} random ones")
    for kind, matrix in (("chosen", chosen), ("random", random)):
        if (matrix > 0).sum() < 100:
            raise DataError(f"ratings {name}: fewer than 100 {kind} ones; too few to learn from")
