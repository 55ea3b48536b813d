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
from shared.data.readers.tables import read_table, separated_by, split_lines
from shared.errors import DataError

_BETWEEN = ("released", "on video", "address")  # fields of u.item that are not read


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
    names = _genres(_split(folder / "u.genre", "|", ("genre", "number")))
    flags = tuple(f"flag {place}" for place in range(len(names)))
    films = _split(folder / "u.item", "|", ("item", "title", *_BETWEEN, *flags))
    listed: list[list[str]] = [[] for _ in range(len(films))]
    for genre, role in zip(names, flags, strict=True):
        for position, flag in enumerate(films.columns[role].values):
            if flag not in ("0", "1"):
                raise films.refusal(position, f"{genre!r} is {flag!r}, expected 0 or 1")
            listed[position] += [genre] if flag == "1" else []
    texts = [
        f"{title}. {', '.join(genres)}" if genres else title
        for title, genres in zip(schema.texts(films, "title"), listed, strict=True)
    ]
    return _ratings(table, schema.items([(films, texts)]), name)


def _genres(table: Table) -> list[str]:
    """The genres in the order of their numbers, which is that of their flags."""
    names = schema.texts(table, "genre")
    numbers = [str(number) for number in table.columns["number"].values]
    places = {str(place): place for place in range(len(names))}
    for position, number in enumerate(numbers):
        if number not in places or number in numbers[:position]:
            raise table.refusal(
                position, f"number {number!r} is not one of 0 to {len(names) - 1}, each once"
            )
    return [name for _, name in sorted(zip(map(places.__getitem__, numbers), names, strict=True))]


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
    numbers = sorted(dict.fromkeys(users), key=_number)
    everyone = Table(table.path, range(len(numbers)), {"user": Column(list(numbers))})
    return schema.log([table], catalogue, name, everyone)


def _number(digits: str) -> tuple[int, str, str]:
    """In whose order numbers of any length are."""
    plain = digits.lstrip("0")
    return len(plain), plain, digits


def _split(path: Path, separator: str, names: tuple[str, ...]) -> Table:
    rows = [
        (number, line.split(separator))
        for number, line in split_lines(read_text(path, otherwise="latin-1"))
    ]
    for number, row in rows:
        if len(row) != len(names):
            found = separated_by(separator.join(row), len(names), ",;:|\t ".replace(separator, ""))
            hint = f" (it looks separated by {found})" if len(row) == 1 and found else ""
            raise DataError(
                f"{path}, row {number}: {len(row)} field{'s' * (len(row) > 1)}, "
                f"expected {len(names)}{hint}"
            )
    if not rows:
        raise DataError(f"{path}: the file is empty; put back the published one")
    columns = zip(*(row for _, row in rows), strict=True)
    return Table(
        path,
        [number for number, _ in rows],
        {name: Column(list(values)) for name, values in zip(names, columns, strict=True)},
    )
