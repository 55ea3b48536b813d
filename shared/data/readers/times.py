"""Times as exact integers: whole numbers, decimals and ISO 8601 dates, never through a float.

A time is `ticks / 10^digits` in the unit of its file; a date is in seconds since 1970. All times of
a file share `digits`, the fewest that hold every one of them exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:(\.)([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?")
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
    r"([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_LONGEST = 60  # characters of a time
_EXACT = 1 << 53  # from here on a float skips whole numbers
_LARGEST = (1 << 63) - 1
_EPOCH = date(1970, 1, 1).toordinal()
# A missing time (NaT) as an integer, in nanoseconds or divided down to coarser units.
_MISSING = frozenset(
    whole
    for unit in (1, 10**3, 10**6, 10**9)
    for whole in (-(1 << 63) // unit, -((1 << 63) // unit))
)
_RULE = "every row needs a finite number, or every row an ISO 8601 date"

Exact = tuple[int, int]  # ticks and digits of one time


class BadTimeError(ValueError):
    """A time that cannot be taken exactly.

    Attributes
    ----------
    position : int
        In the column.
    """

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True)
class Times:
    """The times of a file.

    Attributes
    ----------
    ticks : int64 [n]
    digits : int
        Decimal digits after the point, >= 0: a time is ticks / 10^digits.
    """

    ticks: NDArray[np.int64]
    digits: int = 0

    def checked(self) -> Times:
        """The same times; raises `BadTimeError` where one is missing."""
        missing = np.flatnonzero(np.isin(self.ticks, list(_MISSING)))
        if len(missing):
            raise BadTimeError(int(missing[0]), _missing(str(self.ticks[missing[0]])))
        return self

    def fewest(self) -> Times:
        """The same times with as few digits as hold all of them."""
        ticks, digits = self.ticks, self.digits
        while digits and not (ticks % 10).any():
            ticks, digits = ticks // 10, digits - 1
        return Times(ticks, digits)


def exact(tick: int, digits: int) -> Decimal:
    """One time as a number.

    Examples
    --------
    >>> exact(1008, 1), exact(100, 0)
    (Decimal('100.8'), Decimal('100'))
    """
    return Decimal(tick).scaleb(-digits)


def parse_times(texts: Sequence[str], floats: bool = True) -> Times:
    """The times of a column of text, none of them missing.

    Parameters
    ----------
    texts : sequence of str
    floats : bool
        Whether a number with a point or an exponent may have been a float, as anywhere but in a
        column of decimals.

    Raises
    ------
    BadTimeError
        For the first that is neither, or of another kind than those above it, or that does not fit
        64 bits at the digits which the column needs.
    """
    joined = "".join(texts)
    lengths = {len(text) for text in texts}
    if joined.isascii() and joined.isdigit() and min(lengths) > 0 and max(lengths) <= 18:
        return Times(np.array(list(map(int, texts)), dtype=np.int64))
    kinds: list[str] = []
    found: list[Exact] = []
    for position, text in enumerate(texts):
        kind, value = _one(position, text, floats)
        if kinds and kind != kinds[0]:
            raise BadTimeError(position, _mixed(text, kind, texts[0], kinds[0]))
        kinds.append(kind)
        found.append(value)
    return _aligned(texts, found)


def _mixed(text: str, kind: str, first: str, before: str) -> str:
    if "number" in (kind, before):
        return f"{text!r} is a {kind} where {first!r} is a {before}; write all in one way"
    return f"{text!r} is a {kind} where {first!r} is a {before}; give every row a zone, or none"


def _aligned(texts: Sequence[str], found: Sequence[Exact]) -> Times:
    digits = max((places for _, places in found), default=0)
    ticks = [tick * 10 ** (digits - places) for tick, places in found]
    for position, tick in enumerate(ticks):
        if abs(tick) > _LARGEST:
            if abs(found[position][0]) > _LARGEST:
                raise BadTimeError(
                    position, f"{texts[position]!r} does not fit 64 bits; use a coarser unit"
                )
            finest = next(place for place, (_, places) in enumerate(found) if places == digits)
            raise BadTimeError(
                finest,
                f"{texts[finest]!r} has {digits} digits after the point, with which "
                f"{texts[position]!r} does not fit 64 bits; use a coarser unit",
            )
    return Times(np.array(ticks, dtype=np.int64), digits)


def _missing(text: str) -> str:
    return f"{text!r} stands for a missing time; {_RULE}"


def _one(position: int, written: str, floats: bool) -> tuple[str, Exact]:
    text = written.strip(" ")
    if not text:
        raise BadTimeError(position, f"is empty; {_RULE}")
    if len(text) > _LONGEST:
        raise BadTimeError(
            position, f"{text[:20]!r}... has {len(text)} characters, at most {_LONGEST} are read"
        )
    if (match := _DATE.fullmatch(text)) is not None:
        if (value := _date(match)) is not None:
            return "date with a zone" if match[8] else "date without a zone", value
    elif (match := _NUMBER.fullmatch(text)) is not None and (match[2] or match[4]):
        return "number", _number(position, match, floats)
    raise BadTimeError(
        position, f"{written!r} is neither a finite number nor an ISO 8601 date; {_RULE}"
    )


def _number(position: int, match: re.Match[str], floats: bool) -> Exact:
    sign, whole, point, fraction, exponent = match.groups()
    fraction = (fraction or "").rstrip("0")
    digits = len(fraction) - int(exponent or 0)
    tick = int(f"{sign}{whole}{fraction}" if whole or fraction else "0")
    while digits > 0 and tick % 10 == 0:
        tick, digits = tick // 10, digits - 1 if tick else 0
    if digits < 0:
        tick, digits = tick * 10**-digits, 0
    if tick in _MISSING if digits == 0 else (tick == -(1 << 63) and digits in (3, 6, 9)):
        raise BadTimeError(position, _missing(match[0]))
    if floats and (point or exponent) and abs(tick) >= _EXACT * 10**digits:
        raise BadTimeError(
            position,
            f"{match[0]!r} is written as a float, which holds whole numbers exactly only below "
            "2^53; write whole numbers or ISO 8601 dates",
        )
    return tick, digits


def _date(match: re.Match[str]) -> Exact | None:
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:  # no such day
        return None
    clock = (int(hour or 0), int(minute or 0), int(second or 0))
    east = _east(zone)
    if clock > (23, 59, 59) or max(clock[1:]) > 59 or east is None:
        return None
    fraction = (fraction or "").rstrip("0")
    seconds = days * 86400 + clock[0] * 3600 + clock[1] * 60 + clock[2] - east
    return seconds * 10 ** len(fraction) + int(fraction or 0), len(fraction)


def _east(zone: str | None) -> int | None:
    """Seconds east of Greenwich; None if there is no such zone."""
    if zone in (None, "Z", "z"):
        return 0
    hours, minutes = int(zone[1:3]), int(zone[3:].strip(":") or 0)
    if hours > 23 or minutes > 59:
        return None
    return (hours * 3600 + minutes * 60) * (-1 if zone[0] == "-" else 1)
