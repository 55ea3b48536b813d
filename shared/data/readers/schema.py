"""What columns may hold: one schema, whichever reader split the file.

Identifiers, texts and times are checked here and nowhere else, so that the same mistake gets the
same words in every form of file, and a log is either exactly what its owner wrote or refused.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from shared.data.catalogue import Catalogue
from shared.data.identifiers import (
    Spellings,
    TwoSpellingsError,
    float_spelling,
    likeness,
    normalised,
    spellings,
)
from shared.data.log import InteractionLog, Reading
from shared.data.readers.table import Table
from shared.data.readers.times import BadTimeError, Times, parse_times
from shared.errors import DataError

# What programs write where nothing is known; taken as a name, it would join all who have none.
_NOTHING = frozenset(
    ("nan", "NaN", "NAN", "NaT", "None", "null", "NULL", "NA", "N/A", "#N/A", "<NA>", "inf", "-inf")
)
_KINDS = {"number": "floats or decimals", "whole": "whole numbers", "instant": "times"}
_IDENTIFIERS = ("text", "whole")
_TIMES = ("text", "whole", "number", "instant")


@dataclass(frozen=True)
class Identifiers:
    """A column of identifiers.

    Attributes
    ----------
    values : list of str
        In the form in which they are taken, one per row.
    spellings : Spellings
    """

    values: list[str]
    spellings: Spellings


@dataclass(frozen=True)
class Items:
    """A catalogue as it was read.

    Attributes
    ----------
    catalogue : Catalogue
    spellings : tuple of Spellings
        Of its files.
    where : str
        The names of its files, for messages.
    """

    catalogue: Catalogue
    spellings: tuple[Spellings, ...]
    where: str


def identifiers(table: Table, role: str) -> Identifiers:
    """The identifiers in a column, in one form.

    Raises
    ------
    DataError
        For a column of another kind, an identifier that is missing, blank, or stands for nothing
        (`nan`), whole numbers written as floats, and one identifier in two spellings.
    """
    values = _filled(table, role, _IDENTIFIERS)
    name = table.name(role)
    for value in dict.fromkeys(values):
        if value in _NOTHING:
            raise table.refusal(
                values.index(value),
                f"{name} {value!r} stands for a missing value; name it or drop the row",
            )
    try:
        found = spellings(values)
    except TwoSpellingsError as error:
        first = table.rows[values.index(error.first)]
        raise table.refusal(
            values.index(error.second),
            f"{name} {_shown(error.second)} and {_shown(error.first)} (row {first}) cannot be told "
            "apart; write it one way, or give one of them another identifier",
        ) from None
    for written, form in found.forms.items():
        if not form:
            raise table.refusal(values.index(written), f"{name} is empty; fill it in")
    floats = [written for written, form in found.forms.items() if float_spelling(form)]
    if floats and all(float_spelling(form) or form.isdigit() for form in found.forms.values()):
        raise table.refusal(
            values.index(floats[0]),
            f"{name} {floats[0]!r} is a whole number written as a float, where all are numbers; "
            f"write {floats[0].strip().partition('.')[0]!r}",
        )
    return Identifiers([found.forms[value] for value in values], found)


def texts(table: Table, role: str = "text", optional: bool = False) -> list[str]:
    """The texts in a column, as they are written; where optional, nothing (`nan`, too) is blank.

    Raises
    ------
    DataError
        For a column of another kind, a text that is missing or stands for nothing (`nan`), and
        UTF-8 that was read as latin-1 and saved again.
    """
    name = table.name(role)
    if optional:
        _check_kind(table, role, ("text",))
        values = [
            "" if value is None or value in _NOTHING else str(value)
            for value in table.columns[role].values
        ]
    else:
        values = _filled(table, role, ("text",))
    for position, value in enumerate(values):
        if value in _NOTHING:
            raise table.refusal(
                position, f"{name} {value!r} stands for a missing value; describe it"
            )
        if not value.isascii() and (meant := _meant(value)) is not None:
            raise table.refusal(
                position,
                f"{name} {value[:60]!r} is UTF-8 that was read as latin-1 (meant: "
                f"{meant[:60]!r}); save the file anew from its source, as UTF-8",
            )
    return values


def _meant(text: str) -> str | None:
    """What the text was before it was read as latin-1; None if it was not."""
    for wrong in ("latin-1", "cp1252"):
        try:
            return text.encode(wrong).decode("utf-8")
        except UnicodeError:
            continue
    return None


def times(table: Table, role: str = "timestamp") -> Times:
    """The times in a column, exactly.

    Raises
    ------
    DataError
        For a column of another kind, and a time that is missing, in words, infinite, of another
        kind than the rest, or that 64 bits do not hold.
    """
    column = table.columns[role]
    _check_kind(table, role, _TIMES)
    if isinstance(column.values, np.ndarray):
        return Times(column.values, column.digits).fewest()
    try:
        return parse_times(["" if value is None else value for value in column.values])
    except BadTimeError as error:
        raise table.refusal(error.position, f"{table.name(role)} {error}") from None


def items(parts: Sequence[tuple[Table, list[str]]]) -> Items:
    """The catalogue in one or several files, each with the texts of its rows.

    Raises
    ------
    DataError
        For fewer than two items, and for one that is listed twice.
    """
    listed: dict[str, str] = {}
    found = []
    for table, described in parts:
        column = identifiers(table, "item")
        found.append(column.spellings)
        for position, (item, text) in enumerate(zip(column.values, described, strict=True)):
            if item in listed:
                raise table.refusal(position, f"item {item!r} is listed twice; keep one")
            if not text.strip():
                raise table.refusal(position, f"item {item!r} has no text; describe every item")
            listed[item] = text
    last = parts[-1][0]
    try:
        spellings(listed)  # of several files together
        catalogue = Catalogue(tuple(listed), tuple(listed.values()))
    except TwoSpellingsError as error:
        raise DataError(f"{last.path.parent}: items {error} cannot be told apart") from None
    except DataError as error:
        raise last.refusal(len(last) - 1, str(error)) from None
    return Items(catalogue, tuple(found), " or ".join(table.path.name for table, _ in parts))


def log(
    tables: Sequence[Table], catalogue: Items, name: str, users: Table | None = None
) -> InteractionLog:
    """The log of interactions in one or several files, in the order of their rows.

    Parameters
    ----------
    tables : sequence of Table
        With the columns `user`, `item` and `timestamp`.
    catalogue : Items
    name : str
    users : Table, optional
        All users in order, in a column `user`; by default those with interactions, in order of
        first appearance.

    Raises
    ------
    DataError
        For anything the schema refuses, and for an item that the catalogue lacks.
    """
    columns: dict[str, list[str]] = {"user": [], "item": []}
    found = list(catalogue.spellings)
    when = []
    for table in tables:
        for role in ("user", "item"):
            column = identifiers(table, role)
            found.append(column.spellings)
            columns[role] += column.values
            if role == "item":
                _check_listed(table, column.values, catalogue)
        when.append(times(table))
    listed = None if users is None else _users(users)
    digits = max((part.digits for part in when), default=0)
    ticks = [part.ticks * 10 ** (digits - part.digits) for part in when]
    reading = Reading(digits, sum(one.normalised for one in found))
    frame = {**columns, "timestamp": np.concatenate([np.empty(0, dtype=np.int64), *ticks])}
    return InteractionLog(frame, catalogue.catalogue, name, listed, reading)


def _users(table: Table) -> list[str]:
    column = identifiers(table, "user").values
    seen: set[str] = set()
    for position, user in enumerate(column):
        if user in seen:
            raise table.refusal(position, f"user {user!r} is listed twice; one line per user")
        seen.add(user)
    return column


def _check_listed(table: Table, values: list[str], catalogue: Items) -> None:
    for item in dict.fromkeys(values):
        if item not in catalogue.catalogue:
            raise table.refusal(
                values.index(item),
                f"item {item!r} is not in {catalogue.where}; add it there or drop the row"
                + _like(item, catalogue.catalogue.item_ids),
            )


def _like(item: str, listed: Collection[str]) -> str:
    near = next((one for one in listed if likeness(one) == likeness(item)), None)
    return "" if near is None else f" (it lists {_shown(near)}: write it one way)"


def _filled(table: Table, role: str, kinds: tuple[str, ...]) -> list[str]:
    """A column as text; refuses another kind, and the first row where it is missing or blank."""
    _check_kind(table, role, kinds)
    values = table.columns[role].values
    if isinstance(values, np.ndarray):
        return [str(value) for value in values.tolist()]
    filled = []
    for position, value in enumerate(values):
        if value is None or not (value.strip() if value.isascii() else normalised(value)):
            raise table.refusal(position, f"{table.name(role)} is empty; fill it in")
        filled.append(value)
    return filled


def _check_kind(table: Table, role: str, kinds: tuple[str, ...]) -> None:
    kind = table.columns[role].kind
    if kind not in kinds:
        wanted = "text" if kinds == ("text",) else "text or whole numbers"
        wanted = "numbers, dates or text" if kinds == _TIMES else wanted
        raise table.refusal(
            0,
            f"{table.name(role)} holds values of type {_KINDS.get(kind, kind)}, expected "
            f"{wanted}; convert the column",
        )


def _shown(identifier: str) -> str:
    """Quoted, with what cannot be seen written out."""
    return repr(identifier) if identifier.isascii() else ascii(identifier)
