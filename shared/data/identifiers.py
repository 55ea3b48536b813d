"""Identifiers: when two spellings are one person or item, and when nobody can tell.

A person's key is made of their identifier, and the key is the unit of privacy: one person under two
spellings would be protected twice by half. So an identifier is taken in one form: Unicode NFC,
without white space and invisible characters at its ends. Two spellings of a log that differ in
nothing that can be seen, or as `7`, `+7` and `7.0` do, are refused, never merged. Case and leading
zeros may well distinguish, as in `b1`, `B1` or `01`, `1`: those are kept apart, and counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

# Default_Ignorable_Code_Point in DerivedCoreProperties.txt of Unicode 16, then what is drawn blank
# although it is a letter or a symbol.
_RANGES = (
    *("\u00ad", "\u034f", "\u061c", "\u115f\u1160", "\u17b4\u17b5", "\u180b\u180f"),
    *("\u200b\u200f", "\u202a\u202e", "\u2060\u206f", "\u3164", "\ufe00\ufe0f", "\ufeff"),
    *("\uffa0", "\ufff0\ufff8", "\U0001bca0\U0001bca3", "\U0001d173\U0001d17a"),
    "\U000e0000\U000e0fff",
    *("\u2800", "\U00013441\U00013442", "\U00016fe4", "\U0001d159"),
)
_UNSEEN = frozenset(
    chr(code) for ends in _RANGES for code in range(ord(ends[0]), ord(ends[-1]) + 1)
)
_NUMBER = re.compile(r"([+-]?)([0-9]+)(\.[0-9]*|,00?)?(?:[eE]([+-]?)([0-9]{1,3}))?")


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


def number_spelling(identifier: str) -> str | None:
    """How a number is written; None of what is none.

    Returns
    -------
    str or None
        `whole` as in 12; `float` as in 12.0, a whole number that went through a column of floats;
        `fraction` as in 12.5; `exponent` as in 1.2e+18, where digits are lost; `code` as in 1e18,
        which is one of these or, among letters, part of a code.

    Examples
    --------
    >>> [number_spelling(one) for one in ("-12", "12.0", "12.5", "1.2E+18", "1e18", "12e05")]
    ['whole', 'float', 'fraction', 'exponent', 'code', None]
    """
    if identifier.isascii() and identifier.isdigit():
        return "whole"
    if (match := _NUMBER.fullmatch(identifier)) is None:
        return None
    _, whole, fraction, sign, exponent = match.groups()
    if exponent is not None and not (sign or fraction):
        return "code" if len(whole) == 1 else None
    if exponent is not None:
        return "exponent"
    if fraction is None:
        return "whole"
    return "fraction" if fraction[1:].strip("0") else "float"


def whole_number(identifier: str) -> str:
    """The digits of a whole number that is written with a plus or as a float; else as it is.

    Examples
    --------
    >>> whole_number("+7"), whole_number("-7.0"), whole_number("1.2e+03"), whole_number("7.5")
    ('7', '-7', '1200', '7.5')
    """
    if (match := _NUMBER.fullmatch(identifier)) is None:
        return identifier
    if number_spelling(identifier) in ("fraction", "code", None):
        return identifier
    sign, whole, fraction, below, exponent = match.groups()
    if exponent is None:
        digits = whole
    else:
        after = (fraction or ".")[1:]
        digits = f"{whole}{after}"
        places = int(f"{below}{exponent}") - len(after)
        if places < 0 and digits[places:].strip("0"):
            return identifier
        digits = (digits + "0" * places if places >= 0 else digits[:places]).lstrip("0") or "0"
    return digits if sign == "+" or not digits.strip("0") else sign + digits


def appearance(identifier: str) -> str:
    """What of it can be seen; `7.0` and `+7` appear as `7`.

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
        if character.isspace() or not _invisible(character)
    )
    # Once more, since what stood between two letters may have kept them apart.
    return whole_number(unicodedata.normalize("NFKC", " ".join("".join(seen).split())))


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
        If two spellings differ in nothing that can be seen, or as `7`, `+7` and `7.0` do.
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
