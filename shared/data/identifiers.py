"""Identifiers: when two spellings are one person or item, and when nobody can tell.

A person's key is made of their identifier, and the key is the unit of privacy: one person under two
spellings would be protected twice by half. So an identifier is taken in one form: Unicode NFC,
without white space and invisible characters at its ends. Two spellings of a log that differ in
nothing that can be seen, or as `7` and `7.0` do, are refused, never merged. Case and leading zeros
may well distinguish, as in `b1`, `B1` or `01`, `1`: those are kept apart, and counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # blank, yet letters
_FLOAT = re.compile(r"[0-9]+\.0+")  # what a whole number becomes in a column of floats


def normalised(identifier: str) -> str:
    """NFC, without white space, control and format characters at the ends.

    Examples
    --------
    >>> normalised(" 7\\u200b"), normalised("Zoe\\u0308") == "Zo\\u00eb"
    ('7', True)
    """
    if identifier.isascii() and identifier.isalnum():
        return identifier
    text = unicodedata.normalize("NFC", identifier)
    start, end = 0, len(text)
    while start < end and _invisible(text[start]):
        start += 1
    while end > start and _invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def _invisible(character: str) -> bool:
    return (
        character.isspace()
        or character in _UNSEEN
        or unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp")
    )


def float_spelling(identifier: str) -> bool:
    """Whether it looks as a whole number does that went through a column of floats.

    Examples
    --------
    >>> float_spelling("12.0"), float_spelling("12")
    (True, False)
    """
    return _FLOAT.fullmatch(identifier) is not None


def appearance(identifier: str) -> str:
    """What of it can be seen; `7.0` appears as `7`.

    Examples
    --------
    >>> appearance("a\\u00a0 b") == appearance("a b"), appearance("a\\u200bb") == "ab"
    (True, True)
    """
    if identifier.isascii() and identifier.isalnum():
        return identifier
    text = unicodedata.normalize("NFKC", identifier)
    seen = (
        " " if character.isspace() else character
        for character in text
        if character.isspace() or not (_invisible(character) or "\ufe00" <= character <= "\ufe0f")
    )
    shown = " ".join("".join(seen).split())
    return shown.partition(".")[0] if float_spelling(shown) else shown


def likeness(identifier: str) -> str:
    """What it shares with those that differ by case or leading zeros only.

    Examples
    --------
    >>> likeness("007"), likeness("B1")
    ('7', 'b1')
    """
    shown = appearance(identifier).casefold()
    return (shown.lstrip("0") or "0") if shown.isdigit() else shown


class TwoSpellingsError(ValueError):
    """Two spellings of a column that cannot be told apart.

    Attributes
    ----------
    first, second : str
        As they are written.
    """

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first!r} and {second!r}")
        self.first, self.second = first, second


@dataclass(frozen=True)
class Spellings:
    """The identifiers of one column.

    Attributes
    ----------
    forms : dict of str to str
        From every spelling, in order of first appearance, to the form in which it is taken.
    normalised : int
        Spellings that are not taken as they are written.
    """

    forms: dict[str, str]
    normalised: int


def spellings(identifiers: Iterable[str]) -> Spellings:
    """Go through a column.

    Raises
    ------
    TwoSpellingsError
        If two spellings differ in nothing that can be seen, or as `7` and `7.0` do.
    """
    forms = {written: normalised(written) for written in dict.fromkeys(identifiers)}
    seen: dict[str, str] = {}
    for written, form in forms.items():
        if (other := seen.setdefault(appearance(form), written)) != written:
            raise TwoSpellingsError(other, written)
    return Spellings(forms, sum(written != form for written, form in forms.items()))


def alike(identifiers: Iterable[str]) -> int:
    """How many of distinct identifiers differ from another one by case or leading zeros only.

    Examples
    --------
    >>> alike(["7", "007", "b1", "B1", "c"])
    4
    """
    like = Counter(map(likeness, identifiers))
    return sum(count for count in like.values() if count > 1)
