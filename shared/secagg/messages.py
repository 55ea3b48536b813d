"""Messages: what participants send, and what each of them is sent alone, byte by byte.

Lists that all are sent alike are in `roster`; the masked input is `Ring.pack`.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared.secagg import keys
from shared.secagg.shamir import SECRET
from shared.secagg.wire import Members, Reader, members, number

ADVERT_KIND, ADVERTS, SHARES, DELIVERY, SURVIVORS, AGREEMENT, QUORUM, REVEAL = range(1, 9)
"""A message's first byte."""

_ANYBODY = X25519PrivateKey.from_private_bytes(bytes(keys.KEY))  # whose is no matter

ADVERT = 1 + 8 + 3 * keys.KEY + keys.SIGNATURE
ENVELOPE = 2 * SECRET + keys.TAG
"""Bytes."""


@dataclass(frozen=True)
class Advert:
    """A device's two fresh public keys, under its identity's signature.

    Parameters
    ----------
    node : int
        0 to 2^64 - 1.
    identity : bytes
        Ed25519, 32.
    seal_key : bytes
        X25519, 32: for what others send it sealed.
    mask_key : bytes
        X25519, 32: for the masks that it has in common with its neighbours.
    signature : bytes
        64, over the session and the rest.
    """

    node: int
    identity: bytes
    seal_key: bytes
    mask_key: bytes
    signature: bytes = b""

    @property
    def body(self) -> bytes:
        """What is signed: kind (1), node (8), identity, seal key, mask key (32 each)."""
        head = number(ADVERT_KIND, 1) + number(self.node, 8)
        return head + self.identity + self.seal_key + self.mask_key

    def to_bytes(self) -> bytes:
        """The body and its signature: 169 bytes."""
        return self.body + self.signature

    @classmethod
    def read(cls, data: bytes) -> Advert:
        """The reverse; MalformedMessage if it is none."""
        reader = Reader(data, "advert")
        reader.kind(ADVERT_KIND)
        node = reader.number(8)
        identity, seal_key, mask_key = (reader.take(keys.KEY) for _ in range(3))
        signature = reader.take(keys.SIGNATURE)
        reader.end()
        return cls(node, identity, seal_key, mask_key, signature)

    def verify(self, session: bytes) -> None:
        """ForgedSignature unless its identity signed it in the session of that digest.

        Or if a key is none, with which nobody could agree on anything.
        """
        for each in (self.seal_key, self.mask_key):
            keys.agreed(_ANYBODY, each)
        content = keys.advert_content(session, self.body)
        keys.verify(self.identity, self.signature, content, f"node {self.node}'s advert")


@dataclass(frozen=True)
class Shares:
    """A device's commitment to its self-mask seed, and its sealed shares.

    Kind (1), node (8), roster (32), commitment (32), envelopes (48 each) for its neighbours, in the
    order of its holders. An envelope seals a share of the mask key's seed and one of the self-mask
    seed, 16 bytes each.
    """

    node: int
    roster: bytes
    commitment: bytes
    envelopes: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """The message."""
        head = number(SHARES, 1) + number(self.node, 8) + self.roster + self.commitment
        return head + b"".join(self.envelopes)

    @classmethod
    def read(cls, data: bytes, neighbours: int) -> Shares:
        """The reverse, with so many envelopes; MalformedMessage if it is none."""
        reader = Reader(data, "shares")
        reader.kind(SHARES)
        node, roster, commitment = reader.number(8), reader.take(32), reader.take(32)
        envelopes = tuple(reader.take(ENVELOPE) for _ in range(neighbours))
        reader.end()
        return cls(node, roster, commitment, envelopes)


@dataclass(frozen=True)
class Delivery:
    """Who shared seeds, and what a device's neighbours among them sealed for it.

    Kind (1), node (8), roster (32), who shared (a bit each), envelopes (48 each) of its neighbours
    that did, in the order of its holders.
    """

    node: int
    roster: bytes
    shared: Members
    envelopes: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """The message."""
        head = number(DELIVERY, 1) + number(self.node, 8) + self.roster + members(self.shared)
        return head + b"".join(self.envelopes)

    @classmethod
    def read(cls, data: bytes, cohort: int, neighbours: list[int]) -> Delivery:
        """The reverse, for a device with those neighbours; MalformedMessage if it is none."""
        reader = Reader(data, "delivery")
        reader.kind(DELIVERY)
        node, roster, shared = reader.number(8), reader.take(32), reader.members(cohort)
        envelopes = tuple(reader.take(ENVELOPE) for device in neighbours if shared[device])
        reader.end()
        return cls(node, roster, shared, envelopes)


@dataclass(frozen=True)
class Agreement:
    """A survivor's signature under the list of survivors.

    Kind (1), node (8), SHA-256 of the list (32), signature (64).
    """

    node: int
    survivors: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """The message."""
        return number(AGREEMENT, 1) + number(self.node, 8) + self.survivors + self.signature

    @classmethod
    def read(cls, data: bytes) -> Agreement:
        """The reverse; MalformedMessage if it is none."""
        reader = Reader(data, "agreement")
        reader.kind(AGREEMENT)
        node, survivors = reader.number(8), reader.take(32)
        signature = reader.take(keys.SIGNATURE)
        reader.end()
        return cls(node, survivors, signature)


@dataclass(frozen=True)
class Reveal:
    """One share of one secret for every neighbour that shared, and of the device's own.

    Kind (1), node (8), SHA-256 of the list of survivors (32), shares (16 each) in the order of its
    holders: of the self-mask seed of a survivor, of the mask key's seed of one that dropped.
    """

    node: int
    survivors: bytes
    shares: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """The message."""
        head = number(REVEAL, 1) + number(self.node, 8) + self.survivors
        return head + b"".join(self.shares)

    @classmethod
    def read(cls, data: bytes, count: int) -> Reveal:
        """The reverse, with so many shares; MalformedMessage if it is none."""
        reader = Reader(data, "shares of seeds")
        reader.kind(REVEAL)
        node, survivors = reader.number(8), reader.take(32)
        shares = tuple(reader.take(SECRET) for _ in range(count))
        reader.end()
        return cls(node, survivors, shares)
