"""MovieLens as published, in its two forms.

100K: `u.data` (tab separated), `u.item` and `u.genre` (latin-1, pipes). Latest-small: `ratings.csv`
and `movies.csv` (UTF-8). Every rating, high or low, is an interaction.

References
----------
F. M. Harper and J. A. Konstan. The MovieLens Datasets: History and Context. ACM TiiS 5(4), 2015.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from shared.data.catalogue import Catalogue
from shared.data.log import InteractionLog
from shared.data.readers.tables import ROW, read_table
from shared.errors import DataError

_FLAGS = 5  # fields of u.item before the genre flags: id, title, dates, address


def read_movielens_100k(folder: Path, name: str = "movielens-100k") -> InteractionLog:
    """All ratings as interactions; users in the order of their numbers.

    An item's text is its title and genres, as in "Toy Story (1995). Animation, Children's, Comedy".

    Raises
    ------
    DataError
        If a file is missing or a row is not as published.
    """
    path = folder / "u.data"
    frame = pd.DataFrame(_split(path, "\t", 4), columns=["user", "item", "rating", "timestamp"])
    return _ratings(path, frame, _catalogue(folder), name, "item")


def read_movielens_latest(folder: Path, name: str = "movielens-latest-small") -> InteractionLog:
    """All ratings as interactions; users in the order of their numbers, all listed films.

    Raises
    ------
    DataError
        If a file is missing or a row is not as published.
    """
    films = read_table(folder / "movies.csv", ("movieId", "title", "genres"))
    genres = films["genres"].str.replace("|", ", ").replace("(no genres listed)", "")
    texts = (films["title"].str.strip() + ". " + genres).str.removesuffix(". ")
    catalogue = Catalogue(tuple(films["movieId"]), tuple(texts))
    path = folder / "ratings.csv"
    rows = read_table(path, ("userId", "movieId", "timestamp"))
    frame = rows.rename(columns={"userId": "user", "movieId": "item"})
    return _ratings(path, frame, catalogue, name, "film")


def _ratings(
    path: Path, frame: pd.DataFrame, catalogue: Catalogue, name: str, kind: str
) -> InteractionLog:
    numbers = pd.to_numeric(frame["timestamp"], errors="coerce")
    bad = numbers.isna() | ~frame["item"].isin(catalogue.item_ids) | ~frame["user"].str.isdigit()
    if bad.any():
        first = int(bad.argmax())
        row = frame[ROW][first] if ROW in frame else first + 1
        raise DataError(f"{path}, row {row}: not a rating of a listed {kind}")
    frame["timestamp"] = numbers.astype("int64")
    users = sorted(frame["user"].unique(), key=int)
    return InteractionLog(frame, catalogue, name=name, users=users)


def _catalogue(folder: Path) -> Catalogue:
    genres = [genre for genre, _ in _split(folder / "u.genre", "|", 2)]
    items = _split(folder / "u.item", "|", _FLAGS + len(genres))
    return Catalogue(
        item_ids=tuple(item[0] for item in items),
        texts=tuple(f"{item[1]}. {_genres(item[_FLAGS:], genres)}" for item in items),
    )


def _genres(flags: list[str], genres: list[str]) -> str:
    return ", ".join(genre for flag, genre in zip(flags, genres, strict=True) if flag == "1")


def _split(path: Path, separator: str, fields: int) -> list[list[str]]:
    try:
        lines = path.read_text(encoding="latin-1").split("\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if line:  # u.genre ends in an empty line
            row = line.split(separator)
            if len(row) != fields:
                raise DataError(f"{path}, row {number}: {len(row)} fields, expected {fields}")
            rows.append(row)
    return rows
