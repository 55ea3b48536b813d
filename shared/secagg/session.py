"""Session: what one attempt at a sum is bound to, on both sides."""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from functools import cached_property

from shared.errors import ConfigError, MalformedMessage
from shared.secagg.ring import Ring
from shared.secagg.wire import Reader, number

NONCE = 16
_MAGIC = b"starling-sum-1\0"
_LONGEST = 1024  # bytes of a context


@dataclass(frozen=True)
class Session:
    """What is summed and under which conditions; every key, seal and signature is bound to it.

    Parameters
    ----------
    context : bytes
        What the sum is of, up to 1,024 bytes: hash of the settings, policy, release, round.
    nonce : bytes
        16, the aggregator's, fresh for every attempt.
    bits : int
        Of the ring, 2 to 62.
    dim : int
        Numbers in a message, 1 to 2^32 - 1.
    fewest : int
        Contributions that a sum must hold, from 2 on; every participant refuses to open another.
    colluding : float
        Largest share of the cohort that may be in league with the server, [0, 0.5).

    Raises
    ------
    ConfigError
        For a value out of range.
    """

    context: bytes
    nonce: bytes
    bits: int
    dim: int
    fewest: int
    colluding: float

    def __post_init__(self) -> None:
        Ring(self.bits)
        if not 0 <= self.colluding < 0.5:
            raise ConfigError(f"share in league {self.colluding:g}: expected 0 or more, below 0.5")
        for name, value, low, high in (
            ("bytes of a session's context", len(self.context), 0, _LONGEST),
            ("bytes of a session's nonce", len(self.nonce), NONCE, NONCE),
            ("numbers to sum", self.dim, 1, 2**32 - 1),
            ("contributions that a sum must hold", self.fewest, 2, 2**32 - 1),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{name}: {value}, expected {low} to {high}")

    @cached_property
    def ring(self) -> Ring:
        """Where contributions are added."""
        return Ring(self.bits)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of `to_bytes`: 32 bytes."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """Magic, bits (1), dim (4), fewest (4), colluding (8, IEEE), nonce (16), context."""
        fields = number(self.bits, 1) + number(self.dim, 4) + number(self.fewest, 4)
        share = struct.pack(">d", math.fabs(self.colluding))  # 0 has one form
        return _MAGIC + fields + share + self.nonce + self.context

    @classmethod
    def read(cls, data: bytes) -> Session:
        """The session of `to_bytes`.

        Raises
        ------
        MalformedMessage
            If the data are not those of a session.
        """
        reader = Reader(data, "session")
        if reader.take(len(_MAGIC)) != _MAGIC:
            raise reader.error("is none, or of another version")
        bits, dim, fewest = reader.number(1), reader.number(4), reader.number(4)
        (colluding,) = struct.unpack(">d", reader.take(8))
        nonce, context = reader.take(NONCE), reader.take(max(0, len(data) - len(_MAGIC) - 33))
        reader.end()
        try:
            session = cls(context, nonce, bits, dim, fewest, colluding)
        except ConfigError as error:
            raise MalformedMessage(f"session: {error}") from None
        if session.to_bytes() != data:
            raise reader.error("is not in its one form")
        return session
