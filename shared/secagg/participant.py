"""Participant: a device's side of a secure aggregation, five stages, each once and in order."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared.errors import (
    InconsistentSets,
    MalformedMessage,
    OutOfOrder,
    StaleMessage,
    UnknownIdentity,
)
from shared.secagg import keys, shamir
from shared.secagg.messages import Advert, Agreement, Delivery, Reveal, Shares
from shared.secagg.ring import Words
from shared.secagg.roster import Roster, check_quorum, enough, read_roster, read_survivors
from shared.secagg.session import Session
from shared.secagg.shamir import SECRET
from shared.secagg.wire import Members, Reader, members, number

Trusted = Callable[[int, bytes], bool]
"""Node, identity (Ed25519, 32 bytes) -> whether it is known to be the node's."""

Draw = Callable[[int], bytes]
"""Number of bytes -> so many that nobody can foresee."""


_NOTHING = bytes(2 * SECRET)


class Stage(IntEnum):
    """What a participant did last."""

    NEW, ADVERTISED, SHARED, MASKED, AGREED, FINISHED = range(6)


@dataclass(repr=False)
class _State:
    """What a participant remembers between stages; what a later stage has no use for is empty."""

    stage: Stage = Stage.NEW
    advert: bytes = b""
    seal_private: bytes = b""
    mask_seed: bytes = b""
    self_seed: bytes = b""
    adverts: bytes = b""
    opening: bytes = b""  # 32 for each holder: the key of its envelope
    held: bytes = b""  # 32 for each holder: a share of either of its seeds
    shared: bytes = b""
    survivors: bytes = b""

    def parts(self) -> list[bytes]:
        """All but the stage."""
        return [getattr(self, each.name) for each in fields(self)[1:]]


class Participant:
    """A device in one secure aggregation.

    Every stage takes what the aggregator sent and gives what it is sent back. A message that is not
    as it must be ends the participant: an error is raised, its secrets are forgotten, and no stage
    is answered any more. Whoever asks again needs another session, and gets fresh keys.

    Parameters
    ----------
    session : Session
    node : int
        This device's, 0 to 2^64 - 1.
    identity : Ed25519PrivateKey
        The key by which others know it.
    trusted : callable
        Whether an identity is a node's: nothing that a server says may decide it.
    draw : callable
        Randomness: the operating system's. Another makes test vectors.
    """

    def __init__(
        self,
        session: Session,
        node: int,
        identity: Ed25519PrivateKey,
        trusted: Trusted,
        draw: Draw = secrets.token_bytes,
    ) -> None:
        if not 0 <= node < 2**64:
            raise MalformedMessage(f"node {node}: expected 0 to 2^64 - 1")
        self.session, self.node = session, node
        self._identity, self._trusted, self._draw = identity, trusted, draw
        self._state = _State()

    @property
    def stage(self) -> Stage:
        """What it did last."""
        return self._state.stage

    def advertise(self) -> bytes:
        """Two fresh public keys, signed: an `Advert`.

        Raises
        ------
        OutOfOrder
            If it is not the first stage.
        """
        with self._next(Stage.ADVERTISED) as state:
            state.seal_private, state.mask_seed = self._draw(keys.KEY), self._draw(SECRET)
            seal = X25519PrivateKey.from_private_bytes(state.seal_private)
            mask = keys.mask_private(self.session.digest, state.mask_seed)
            own = self._identity.public_key().public_bytes_raw()
            advert = Advert(self.node, own, keys.public(seal), keys.public(mask))
            content = keys.advert_content(self.session.digest, advert.body)
            signed = replace(advert, signature=self._identity.sign(content))
            state.advert = signed.to_bytes()
            return state.advert

    def share(self, adverts: bytes) -> bytes:
        """Shares of both seeds, sealed for each neighbour: `Shares`.

        Parameters
        ----------
        adverts : bytes
            Everybody's, this device's among them.

        Raises
        ------
        SecureAggregationError
            If the list is refused (see `read_roster`), if it does not hold this device's advert,
            or another whose identity is not trusted.
        """
        with self._next(Stage.SHARED) as state:
            roster = read_roster(adverts, self.session)
            me = roster.number_of(self.node)
            if me < 0 or roster.adverts[me].to_bytes() != state.advert:
                raise InconsistentSets("list of adverts does not hold this device's own")
            for advert in roster.adverts:
                if not self._trusted(advert.node, advert.identity):
                    raise UnknownIdentity(f"identity of node {advert.node} is not known to be its")
            state.adverts, state.self_seed = adverts, self._draw(SECRET)
            message = self._sealed(roster, me)
            state.seal_private = state.advert = b""
            return message

    def _sealed(self, roster: Roster, me: int) -> bytes:
        state, digest = self._state, self.session.digest
        holders, threshold = roster.holders(me), roster.parameters.threshold
        seeds = (state.mask_seed, state.self_seed)
        split = [shamir.split(seed, threshold, len(holders), self._draw) for seed in seeds]
        private = X25519PrivateKey.from_private_bytes(state.seal_private)
        envelopes, opening, held = [], [], []
        for holder, *shares in zip(holders, *split, strict=True):
            both = b"".join(shares)
            held.append(both if holder == me else _NOTHING)
            if holder == me:
                opening.append(_NOTHING)
                continue
            other = roster.adverts[holder]
            secret = keys.agreed(private, other.seal_key)
            upward, downward = keys.seal_keys(digest, secret, self.node, other.node)
            bound = _bound(roster, self.node, other.node)
            envelopes.append(keys.seal(upward if me < holder else downward, both, bound))
            opening.append(downward if me < holder else upward)
        state.opening, state.held = b"".join(opening), b"".join(held)
        commitment = keys.commitment(digest, state.self_seed)
        return Shares(self.node, roster.digest, commitment, tuple(envelopes)).to_bytes()

    def mask(self, delivery: bytes, values: Words) -> Words:
        """This device's contribution under masks of which only those of a whole sum cancel.

        Parameters
        ----------
        delivery : bytes
            Who shared, and this device's envelopes: a `Delivery`.
        values : numpy.ndarray
            [dim], elements of the session's ring.

        Returns
        -------
        numpy.ndarray
            Another array of elements, which look like any other.

        Raises
        ------
        SecureAggregationError
            If the delivery is of another device or list, too few shared, this device is not among
            them, or an envelope is missing or false; or if the values are no elements.
        """
        with self._next(Stage.MASKED) as state:
            ring = self.session.ring
            if values.shape != (self.session.dim,) or not ring.holds(values):
                raise MalformedMessage(
                    f"contribution: expected {self.session.dim} numbers of {ring.bits} bits"
                )
            shared, state.held = self._delivered(delivery)
            masked = self._masked(*self._roster(), shared, values)
            state.shared, state.opening = members(shared), b""
            state.mask_seed = state.self_seed = b""
            return masked

    def examine(self, delivery: bytes) -> None:
        """Refuse a delivery that `mask` would, before there is a contribution; nothing changes.

        Raises
        ------
        SecureAggregationError
            As `mask`, or if that is not the next stage.
        """
        if self._state.stage is not Stage.SHARED:
            raise OutOfOrder(f"masked input is no stage that comes after {self._state.stage.name}")
        self._delivered(delivery)

    @property
    def cohort(self) -> int:
        """How many devices the list of adverts holds; once seeds were shared."""
        return len(self._roster()[0].adverts)

    def _delivered(self, delivery: bytes) -> tuple[Members, bytes]:
        """Who shared seeds, and what the holders among them sealed for this device."""
        roster, me = self._roster()
        neighbours = [device for device in roster.holders(me) if device != me]
        read = Delivery.read(delivery, len(roster.adverts), neighbours)
        if (read.node, read.roster) != (self.node, roster.digest):
            raise StaleMessage("delivery is for another device or list of adverts")
        enough(int(read.shared.sum()), roster.parameters.fewest, "shared seeds")
        if not read.shared[me]:
            raise InconsistentSets("those who shared seeds are listed without this device")
        return read.shared, self._opened(roster, me, read)

    def _opened(self, roster: Roster, me: int, delivery: Delivery) -> bytes:
        """What the holders sealed for this device, beside its own; nothing of who did not share."""
        holders, envelopes = roster.holders(me), iter(delivery.envelopes)
        opening, held = (_each(part, holders) for part in (self._state.opening, self._state.held))
        for holder in holders:
            if holder != me and delivery.shared[holder]:
                other = roster.adverts[holder].node
                bound = _bound(roster, other, self.node)
                held[holder] = keys.unseal(opening[holder], next(envelopes), bound, f"node {other}")
        return b"".join(held.values())

    def _masked(self, roster: Roster, me: int, shared: Members, values: Words) -> Words:
        ring, digest = self.session.ring, self.session.digest
        total = values.astype(keys.lanes(ring.bits))
        keys.add_mask(total, keys.self_key(digest, self._state.self_seed), 1)
        private = keys.mask_private(digest, self._state.mask_seed)
        for other in roster.holders(me):
            if other != me and shared[other]:
                advert = roster.adverts[other]
                secret = keys.agreed(private, advert.mask_key)
                key = keys.pair_key(digest, secret, self.node, advert.node)
                keys.add_mask(total, key, 1 if me < other else -1)
        return ring.truncate(total)

    def agree(self, survivors: bytes) -> bytes:
        """A signature under the list of survivors, the only one that this device gives.

        Parameters
        ----------
        survivors : bytes
            Whose masked input arrived, this device's with it.

        Raises
        ------
        SecureAggregationError
            If the list is refused (see `read_survivors`), tells of others who shared than the
            delivery did, or does not name this device.
        """
        with self._next(Stage.AGREED) as state:
            roster, me = self._roster()
            shared, survived = read_survivors(roster, survivors)
            if members(shared) != state.shared:
                raise InconsistentSets("list of survivors tells of other devices that shared seeds")
            if not survived[me]:
                raise InconsistentSets("list of survivors does not name this device")
            state.survivors = survivors
            content = keys.survivors_content(self.session.digest, survivors)
            signature = self._identity.sign(content)
            return Agreement(self.node, sha256(survivors).digest(), signature).to_bytes()

    def reveal(self, quorum: bytes) -> bytes:
        """Of each neighbour that shared one share of one seed: never both, and never again.

        Parameters
        ----------
        quorum : bytes
            Signatures of so many survivors under the list that this device signed that no other
            list can have as many.

        Raises
        ------
        SecureAggregationError
            If the quorum is refused (see `check_quorum`).
        """
        with self._next(Stage.FINISHED) as state:
            roster, me = self._roster()
            check_quorum(roster, state.survivors, quorum)
            shared, survived = read_survivors(roster, state.survivors)
            held = _each(state.held, roster.holders(me))
            shares = [
                both[SECRET:] if survived[holder] else both[:SECRET]
                for holder, both in held.items()
                if shared[holder]
            ]
            digest = sha256(state.survivors).digest()
            self._state = _State(Stage.FINISHED)
            return Reveal(self.node, digest, tuple(shares)).to_bytes()

    def save(self) -> bytes:
        """What `restore` goes on from: holds secrets, and is to be replaced after every stage.

        Raises
        ------
        OutOfOrder
            If the participant has finished, or was ended by an error.
        """
        state = self._state
        if state.stage is Stage.FINISHED:
            raise OutOfOrder("the device's part in this sum has ended")
        head = number(state.stage, 1) + number(self.node, 8)
        parts = [self.session.to_bytes(), *state.parts()]
        return head + b"".join(number(len(part), 4) + part for part in parts)

    @classmethod
    def restore(
        cls,
        saved: bytes,
        identity: Ed25519PrivateKey,
        trusted: Trusted,
        draw: Draw = secrets.token_bytes,
    ) -> Participant:
        """A participant as it was saved.

        Raises
        ------
        MalformedMessage
            If the bytes are none that `save` writes.
        """
        reader = Reader(saved, "saved participant")
        stage, node = reader.number(1), reader.number(8)
        if stage >= Stage.FINISHED:
            raise reader.error("is at no stage")
        session = Session.read(reader.take(reader.number(4)))
        parts = [reader.take(reader.number(4)) for _ in fields(_State)[1:]]
        reader.end()
        participant = cls(session, node, identity, trusted, draw)
        participant._state = state = _State(Stage(stage), *parts)
        for secret, size, until in (
            (state.seal_private, keys.KEY, (Stage.ADVERTISED,)),
            (state.mask_seed, SECRET, (Stage.ADVERTISED, Stage.SHARED)),
            (state.self_seed, SECRET, (Stage.SHARED,)),
        ):
            if len(secret) != size * (stage in until):
                raise reader.error("holds a secret of another length")
        return participant

    def _roster(self) -> tuple[Roster, int]:
        roster = read_roster(self._state.adverts, self.session)
        me = roster.number_of(self.node)
        if me < 0:
            raise MalformedMessage("saved participant is not in its list of adverts")
        return roster, me

    @contextmanager
    def _next(self, stage: Stage) -> Iterator[_State]:
        """Go one stage on; whatever is raised ends the participant."""
        done = self._state.stage
        try:
            if done != stage - 1:
                raise OutOfOrder(f"{stage.name.lower()} does not follow on {done.name.lower()}")
            yield self._state
            self._state.stage = stage
        except BaseException:
            self._state = _State(Stage.FINISHED)
            raise


def _bound(roster: Roster, sender: int, receiver: int) -> bytes:
    return roster.digest + number(sender, 8) + number(receiver, 8)


def _each(part: bytes, holders: list[int]) -> dict[int, bytes]:
    """By holder, its 32 bytes.

    Raises
    ------
    MalformedMessage
        If what was saved is of another length.
    """
    reader = Reader(part, "saved participant")
    found = {holder: reader.take(len(_NOTHING)) for holder in holders}
    reader.end()
    return found
