"""Whole numbers modulo 2^b: where contributions are added so that nothing but their sum shows.

Imports no torch: a relay adds what it cannot read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.errors import ConfigError, MalformedMessage

Words = npt.NDArray[np.unsignedinteger]
Integers = npt.NDArray[np.int64]

_FEWEST, _MOST = 2, 62  # more would leave int64 no room


@dataclass(frozen=True)
class Ring:
    """The ring Z / 2^b, its elements read as the whole numbers from -2^(b-1) to 2^(b-1) - 1.

    Sums of any length are exact modulo 2^b, in any order, and a sum is read rightly as long as it
    lies in that range: single contributions and partial sums need not.

    Parameters
    ----------
    bits : int
        b, from 2 to 62.

    Raises
    ------
    ConfigError
        For another number of bits.
    """

    bits: int

    def __post_init__(self) -> None:
        if not _FEWEST <= self.bits <= _MOST:
            raise ConfigError(f"ring of {self.bits} bits: expected {_FEWEST} to {_MOST}")

    @classmethod
    def holding(cls, largest: int) -> Ring:
        """The smallest ring in which every sum from -largest to largest is read rightly.

        Parameters
        ----------
        largest : int
            >= 0.

        Raises
        ------
        ConfigError
            If that takes more than 62 bits.
        """
        bits = max(_FEWEST, int(largest).bit_length() + 1)
        if bits > _MOST:
            raise ConfigError(
                f"sums up to {largest:g} grid steps need {bits} bits, more than {_MOST}: "
                "give a smaller cohort"
            )
        return cls(bits)

    @property
    def words(self) -> np.dtype[np.unsignedinteger]:
        """The type that an element travels as: uint32 up to 32 bits, else uint64."""
        return np.dtype(np.uint32 if self.bits <= 32 else np.uint64)

    def reduce(self, numbers: Integers) -> Words:
        """Whole numbers, int64 of any shape, as elements of the ring."""
        masked: Integers = numbers & np.int64(2**self.bits - 1)  # two's complement: modulo 2^b
        return masked.astype(self.words)

    def add(self, one: Words, other: Words) -> Words:
        """The sum of two arrays of elements."""
        total: Words = (one + other) & self.words.type(2**self.bits - 1)
        return total

    def centred(self, elements: Words) -> Integers:
        """The whole numbers, int64 from -2^(b-1) to 2^(b-1) - 1, that elements stand for."""
        half = np.int64(2 ** (self.bits - 1))
        numbers: Integers = ((elements.astype(np.int64) + half) & np.int64(2**self.bits - 1)) - half
        return numbers

    def truncate(self, wider: Words) -> Words:
        """Numbers that are elements modulo 2^b, as elements."""
        elements: Words = wider.astype(self.words) & self.words.type(2**self.bits - 1)
        return elements

    def pack(self, elements: Words) -> bytes:
        """Elements, [dim], as exactly `bits` bits each, little-endian: ceil(dim bits / 8) bytes."""
        groups = np.zeros((-(-len(elements) // 8), 8), np.uint64)
        groups.reshape(-1)[: len(elements)] = elements
        packed = np.zeros((len(groups), self.bits), np.uint8)  # 8 elements are `bits` bytes
        for element, byte, down, up in self._pieces():
            packed[:, byte] |= ((groups[:, element] << up) >> down).astype(np.uint8)
        return packed.tobytes()[: self.packed(len(elements))]

    def unpack(self, data: bytes, dim: int) -> Words:
        """The reverse, [dim].

        Raises
        ------
        MalformedMessage
            If the data are of another length, or bits beyond the last element are not 0.
        """
        if not isinstance(data, bytes) or len(data) != self.packed(dim):
            raise MalformedMessage(f"packed elements: expected {self.packed(dim)} bytes")
        packed = np.zeros((-(-dim // 8), self.bits), np.uint8)
        packed.reshape(-1)[: len(data)] = np.frombuffer(data, np.uint8)
        groups = np.zeros((len(packed), 8), np.uint64)
        for element, byte, up, down in self._pieces():
            groups[:, element] |= (packed[:, byte].astype(np.uint64) << up) >> down
        groups &= np.uint64(2**self.bits - 1)
        elements = groups.reshape(-1)[:dim].astype(self.words)
        if dim and dim * self.bits % 8 and data[-1] >> (dim * self.bits % 8):
            raise MalformedMessage("packed elements: bits beyond the last are not 0")
        return elements

    def packed(self, dim: int) -> int:
        """Bytes that so many elements take."""
        return -(-dim * self.bits // 8)

    def _pieces(self) -> list[tuple[int, int, np.uint64, np.uint64]]:
        """Of 8 elements in `bits` bytes: element, byte, and how far down or up one is shifted."""
        return [
            (element, byte, np.uint64(max(0, shift)), np.uint64(max(0, -shift)))
            for element in range(8)
            for first in [element * self.bits]
            for byte in range(first // 8, (first + self.bits - 1) // 8 + 1)
            for shift in [8 * byte - first]
        ]

    def holds(self, elements: npt.NDArray[np.generic]) -> bool:
        """Whether an array is one of elements, by type and range."""
        if elements.dtype != self.words:
            return False
        return elements.size == 0 or int(elements.max()) < 2**self.bits
