"""What columns may hold: one schema, whichever reader split the file.

Identifiers, texts and times are checked here and nowhere else, so that the same mistake gets the
same words in every form of file, and a log is either exactly what its owner wrote or refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.data.catalogue import Catalogue
from shared.data.identifiers import (
    Spellings,
    TwoSpellingsError,
    likeness,
    normalised,
    number_spelling,
    spellings,
    whole_number,
)
from shared.data.log import InteractionLog, Reading
from shared.data.readers.lost import misread, stands_for_nothing
from shared.data.readers.table import Table
from shared.data.readers.times import BadTimeError, Times, parse_times
from shared.errors import DataError

_KINDS = {
    "number": "floats or decimals",
    "decimal": "floats or decimals",
    "whole": "whole numbers",
    "instant": "times",
}
_IDENTIFIERS = ("text", "whole")
_TIMES = ("text", "whole", "number", "decimal", "instant")


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
        For a column of another kind, an identifier that is missing, blank, stands for nothing
        (`nan`) or was read in another encoding, whole numbers written as floats, and one identifier
        in two spellings.
    """
    values = _filled(table, role, _IDENTIFIERS)
    name = table.name(role)
    for value in dict.fromkeys(values):
        if stands_for_nothing(value, identifier=True):
            raise table.refusal(
                values.index(value),
                f"{name} {_shown(value)} stands for a missing value; name it or drop the row",
            )
        if (how := misread(value)) is not None:
            raise table.refusal(
                values.index(value),
                f"{name} {_shown(value[:60])} {how}; save the file anew from its source, as UTF-8",
            )
    try:
        found = spellings(values)
    except TwoSpellingsError as error:
        raise _two_spellings(error, role, [table]) from None
    for written, form in found.forms.items():
        if not form:
            raise table.refusal(values.index(written), f"{name} is empty; fill it in")
    for written, rule in _floats(found.forms):
        raise table.refusal(values.index(written), f"{name} {written[:60]!r} {rule}")
    return Identifiers([found.forms[value] for value in values], found)


def _floats(forms: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Identifiers that went through floats, each with what to say of it."""
    kinds = {written: number_spelling(form) for written, form in forms.items()}
    some = set(kinds.values())
    for written, kind in kinds.items():
        if kind == "exponent" or (kind == "code" and None not in some):
            yield (
                written,
                "is a number written as a float, which others may share whose last digits are "
                "lost; write whole numbers, from the source of the file",
            )
        elif kind == "float" and "fraction" not in some:  # among these it is a code, as 1.0 and 1.5
            yield (
                written,
                "is a whole number written as a float, and no other has a fraction; "
                f"write {whole_number(forms[written])[:60]!r}",
            )


def _two_spellings(error: TwoSpellingsError, role: str, tables: Sequence[Table]) -> DataError:
    """The refusal of two spellings in one file, or in two of them."""
    places = []
    for one in (error.second, error.first):
        texts = ((table, list(map(str, table.columns[role].values))) for table in tables)
        places.append(next((table, values.index(one)) for table, values in texts if one in values))
    (table, position), (other, first) = places
    where = f"row {other.rows[first]}" + f" of {other.path.name}" * (other is not table)
    return table.refusal(
        position,
        f"{table.name(role)} {_shown(error.second)} and {_shown(error.first)} ({where}) cannot be "
        "told apart; write it one way, or give one of them another identifier",
    )


def texts(table: Table, role: str = "text", optional: bool = False) -> list[str]:
    """The texts in a column, as they are written; where optional, nothing (`nan`, too) is blank.

    Raises
    ------
    DataError
        For a column of another kind, a text that is missing or stands for nothing (`nan`), and
        one that was read in another encoding and saved again.
    """
    name = table.name(role)
    if optional:
        _check_kind(table, role, ("text",))
        values = [
            "" if value is None or _is_nothing(str(value)) else str(value)
            for value in table.columns[role].values
        ]
    else:
        values = _filled(table, role, ("text",))
    for position, value in enumerate(values):
        if stands_for_nothing(value):
            raise table.refusal(
                position,
                f"{name} {_shown(value)} stands for a missing value; describe it (if that is its "
                "title, write more of it, such as its kind)",
            )
        if (how := misread(value)) is not None:
            raise table.refusal(
                position,
                f"{name} {value[:60]!r} {how}; save the file anew from its source, as UTF-8",
            )
    return values


def _is_nothing(text: str) -> bool:
    return _is_blank(text) or stands_for_nothing(text)


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
    try:
        if isinstance(column.values, np.ndarray):
            return Times(column.values, column.digits).checked().fewest()
        written = ["" if value is None else value for value in column.values]
        return parse_times(written, floats=column.kind != "decimal")
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
        For anything the schema refuses, one identifier in two spellings, in two of the files too,
        and for an item that the catalogue lacks.
    """
    columns: dict[str, list[str]] = {"user": [], "item": []}
    found = list(catalogue.spellings)
    written: dict[str, list[str]] = {"user": [], "item": []}
    when = []
    for table in tables:
        for role in ("user", "item"):
            column = identifiers(table, role)
            found.append(column.spellings)
            columns[role] += column.values
            written[role].extend(column.spellings.forms)
            if role == "item":
                _check_listed(table, column.values, catalogue)
        when.append(times(table))
    for role, spelt in written.items():
        try:
            spellings(spelt)
        except TwoSpellingsError as error:
            raise _two_spellings(error, role, tables) from None
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
        if value is None or _is_blank(value):
            raise table.refusal(position, f"{table.name(role)} is empty; fill it in")
        if "\0" in value:
            raise table.refusal(position, f"{table.name(role)} holds byte 0x00, which is no text")
        filled.append(value)
    return filled


def _is_blank(text: str) -> bool:
    return not (text.strip() if text.isascii() else normalised(text))


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
