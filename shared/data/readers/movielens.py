"""MovieLens as published, in its two forms.

100K: `u.data` (tab separated), `u.item` and `u.genre` (latin-1, pipes). Latest-small: `ratings.csv`
and `movies.csv` (UTF-8). Every rating, high or low, is an interaction.

References
----------
F. M. Harper and J. A. Konstan. The MovieLens Datasets: History and Context. ACM TiiS 5(4), 2015.
"""

from __future__ import annotations

from pathlib import Path

from shared.data.log import InteractionLog
from shared.data.readers import schema
from shared.data.readers.content import read_text
from shared.data.readers.table import Column, Table
from shared.data.readers.tables import read_table, split_lines
from shared.errors import DataError

_FLAGS = 5  # fields of u.item before the genre flags: id, title, dates, address


def read_movielens_100k(folder: Path, name: str = "movielens-100k") -> InteractionLog:
    """All ratings as interactions; users in the order of their numbers.

    An item's text is its title and genres, as in "Toy Story (1995). Animation, Children's, Comedy".
    Files that are UTF-8 are read as such: somebody saved them anew.

    Raises
    ------
    DataError
        If a file is missing or a row is not as published.
    """
    table = _split(folder / "u.data", "\t", ("user", "item", "rating", "timestamp"))
    genres = _split(folder / "u.genre", "|", ("genre", "number"))
    names = [str(genre) for genre in genres.columns["genre"].values]
    fields = ("item", "title", *map(str, range(2, _FLAGS)), *(f"genre {one}" for one in names))
    films = _split(folder / "u.item", "|", fields)
    flags = [films.columns[f"genre {one}"].values for one in names]
    texts = [
        f"{title}. {', '.join(one for one, flag in zip(names, row, strict=True) if flag == '1')}"
        for title, row in zip(schema.texts(films, "title"), zip(*flags, strict=True), strict=True)
    ]
    return _ratings(table, schema.items([(films, texts)]), name)


def read_movielens_latest(folder: Path, name: str = "movielens-latest-small") -> InteractionLog:
    """All ratings as interactions; users in the order of their numbers, all listed films.

    Raises
    ------
    DataError
        If a file is missing or a row is not as published.
    """
    columns = {"item": "movieId", "title": "title", "genres": "genres"}
    films = read_table(folder / "movies.csv", columns)
    titles, genres = schema.texts(films, "title"), schema.texts(films, "genres", optional=True)
    texts = [
        f"{title.strip()}. {listed.replace('|', ', ')}".removesuffix("(no genres listed)")
        for title, listed in zip(titles, genres, strict=True)
    ]
    catalogue = schema.items([(films, [text.removesuffix(". ") for text in texts])])
    wanted = {"user": "userId", "item": "movieId", "timestamp": "timestamp"}
    return _ratings(read_table(folder / "ratings.csv", wanted), catalogue, name)


def _ratings(table: Table, catalogue: schema.Items, name: str) -> InteractionLog:
    users = schema.identifiers(table, "user").values
    for position, user in enumerate(users):
        if not (user.isascii() and user.isdigit()):
            raise table.refusal(position, f"{table.name('user')} {user!r} is not a user's number")
    numbers: list[str | None] = [*sorted(dict.fromkeys(users), key=lambda user: (int(user), user))]
    everyone = Table(table.path, range(len(numbers)), {"user": Column(numbers)})
    return schema.log([table], catalogue, name, everyone)


def _split(path: Path, separator: str, names: tuple[str, ...]) -> Table:
    rows = [
        (number, line.split(separator))
        for number, line in split_lines(read_text(path, otherwise="latin-1"))
    ]
    for number, row in rows:
        if len(row) != len(names):
            raise DataError(f"{path}, row {number}: {len(row)} fields, expected {len(names)}")
    if not rows:
        raise DataError(f"{path}: the file is empty; put back the published one")
    columns = zip(*(row for _, row in rows), strict=True)
    return Table(
        path,
        [number for number, _ in rows],
        {name: Column(list(values)) for name, values in zip(names, columns, strict=True)},
    )
