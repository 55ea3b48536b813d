"""Bytes of messages: read strictly, so that what was understood has one form only.

Whole numbers are big-endian. Nothing is allocated for a length that is claimed: a reader hands out
parts of what it was given, and refuses what is short, too long or not in its one form.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.errors import MalformedMessage

Members = npt.NDArray[np.bool_]
"""Who belongs to a set: [cohort], in the order of node numbers."""


class Reader:
    """What is left of a message.

    Parameters
    ----------
    data : bytes
    what : str
        For errors: `list of adverts`.

    Raises
    ------
    MalformedMessage
        If the data are no bytes; by every method, if they end too early.
    """

    def __init__(self, data: bytes, what: str) -> None:
        if not isinstance(data, bytes):
            raise MalformedMessage(f"{what}: expected bytes")
        self._data, self._at, self._what = data, 0, what

    def take(self, count: int) -> bytes:
        """The next so many bytes."""
        if count > len(self._data) - self._at:
            raise self.error(f"ends after {len(self._data)} bytes, too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, width: int) -> int:
        """The next whole number >= 0, of so many bytes."""
        return int.from_bytes(self.take(width), "big")

    def kind(self, expected: int) -> None:
        """Refuse a message of another kind, which its first byte tells."""
        if self.number(1) != expected:
            raise self.error(f"is of another kind: expected {expected}")

    def members(self, cohort: int) -> Members:
        """The next set: a bit for each device, the first the highest; spare bits are 0."""
        packed = np.frombuffer(self.take((cohort + 7) // 8), np.uint8)
        bits = np.unpackbits(packed).astype(np.bool_)
        if bits[cohort:].any():
            raise self.error("names devices beyond the cohort")
        return bits[:cohort]

    def end(self) -> None:
        """Refuse bytes that are left over."""
        if self._at != len(self._data):
            raise self.error(f"has {len(self._data) - self._at} bytes too many")

    def error(self, found: str) -> MalformedMessage:
        """An error that names the message."""
        return MalformedMessage(f"{self._what} {found}")


def number(value: int, width: int) -> bytes:
    """A whole number >= 0 in so many bytes."""
    return value.to_bytes(width, "big")


def members(chosen: Members) -> bytes:
    """A set, as `Reader.members` reads it."""
    return np.packbits(chosen).tobytes()
