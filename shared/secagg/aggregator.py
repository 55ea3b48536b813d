"""Aggregator: the server's side of a secure aggregation, which learns one sum."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TypeVar

import numpy as np

from shared.errors import (
    OutOfOrder,
    SecureAggregationError,
    SpoiledShares,
    StaleMessage,
)
from shared.secagg import keys, shamir
from shared.secagg.messages import Advert, Agreement, Delivery, Reveal, Shares
from shared.secagg.ring import Words
from shared.secagg.roster import (
    Roster,
    enough,
    read_roster,
    read_survivors,
    write_quorum,
    write_roster,
    write_survivors,
)
from shared.secagg.session import Session

_TRIES = 256  # choices of shares that a secret is looked for in
_DRAW = random.SystemRandom()

Read = TypeVar("Read", Advert, Shares, Agreement, Reveal)


class Aggregator:
    """The server in one secure aggregation.

    Every stage takes the replies that arrived, by node. One that is not as it must be does not
    count, and `failures` says why, never what it held. Too few that count end the aggregation.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.failures: list[str] = []
        self._stage = 0
        self._roster: Roster
        self._committed: dict[int, bytes] = {}
        self._sum = np.zeros(session.dim, keys.lanes(session.bits))
        self._survivors = b""

    def adverts(self, replies: Mapping[int, bytes]) -> bytes:
        """Everybody's adverts, for everybody.

        Raises
        ------
        TooFewDevices
            If fewer count than a sum must hold.
        """
        self._next(1)

        def read(node: int, reply: bytes) -> Advert:
            advert = _of(node, Advert.read(reply))
            advert.verify(self.session.digest)
            return advert

        adverts = self._counted(replies, read)
        shown: set[bytes] = set()
        for node in sorted(adverts):
            found = {adverts[node].identity, adverts[node].seal_key, adverts[node].mask_key}
            if len(found) < 3 or found & shown:
                del adverts[node]
                self.failures.append(f"node {node}: two devices show the same key")
            shown |= found
        data = write_roster(adverts, self.session)
        self._roster = read_roster(data, self.session)
        self._arrived = np.zeros(len(adverts), np.bool_)
        return data

    def deliveries(self, replies: Mapping[int, bytes]) -> dict[int, bytes]:
        """For each device that shared: who did, and its envelopes.

        Raises
        ------
        TooFewDevices
            If fewer shared than a sum must hold.
        """
        self._next(2)
        roster = self._roster

        def read(node: int, reply: bytes) -> Shares:
            return self._current(node, Shares.read(reply, roster.parameters.neighbours))

        sent = self._counted(replies, read)
        enough(len(sent), roster.parameters.fewest, "shared seeds")
        self._committed = {roster.number_of(node): each.commitment for node, each in sent.items()}
        self._shared = np.zeros(len(roster.adverts), np.bool_)
        self._shared[list(self._committed)] = True
        envelopes: dict[int, dict[int, bytes]] = {device: {} for device in self._committed}
        for node, shares in sent.items():
            device = roster.number_of(node)
            receivers = [holder for holder in roster.holders(device) if holder != device]
            for receiver, envelope in zip(receivers, shares.envelopes, strict=True):
                if receiver in envelopes:
                    envelopes[receiver][device] = envelope
        deliveries = {}
        for device, received in envelopes.items():
            node = roster.adverts[device].node
            ordered = tuple(received[each] for each in roster.holders(device) if each in received)
            deliveries[node] = Delivery(node, roster.digest, self._shared, ordered).to_bytes()
        return deliveries

    def add(self, node: int, masked: Words) -> bool:
        """Add a masked input to the running sum, if it counts.

        Parameters
        ----------
        node : int
        masked : numpy.ndarray
            [dim], elements of the session's ring.
        """
        self._during(2)
        device, ring = self._roster.number_of(node), self.session.ring
        if device not in self._committed:
            why = "masked input of a device that did not share"
        elif self._arrived[device]:
            why = "a second masked input"
        elif masked.shape != (self.session.dim,) or not ring.holds(masked):
            why = f"masked input: expected {self.session.dim} numbers of {ring.bits} bits"
        else:
            self._arrived[device] = True
            self._sum += masked.astype(self._sum.dtype)
            return True
        self.failures.append(f"node {node}: {why}")
        return False

    def survivors(self) -> bytes:
        """Whose masked input arrived, for all of these.

        Raises
        ------
        TooFewDevices, IsolatedDevices
            If no participant would agree to open a sum over them.
        """
        self._next(3)
        self._survivors = write_survivors(self._roster, self._shared, self._arrived)
        read_survivors(self._roster, self._survivors)
        return self._survivors

    def quorum(self, replies: Mapping[int, bytes]) -> bytes:
        """Proof that enough survivors agree, for all of these.

        Raises
        ------
        TooFewDevices
            If fewer agree than must.
        """
        self._next(4)
        roster, digest = self._roster, sha256(self._survivors).digest()
        content = keys.survivors_content(self.session.digest, self._survivors)

        def read(node: int, reply: bytes) -> Agreement:
            agreement = self._surviving(node, Agreement.read(reply), digest)
            identity = roster.adverts[roster.number_of(node)].identity
            keys.verify(identity, agreement.signature, content, "a survivor")
            return agreement

        agreed = self._counted(replies, read)
        enough(len(agreed), roster.parameters.quorum, "agreed on the survivors")
        some = sorted(agreed)[: roster.parameters.quorum]
        signatures = {roster.number_of(node): agreed[node].signature for node in some}
        return write_quorum(roster, self._survivors, signatures)

    def total(self, replies: Mapping[int, bytes]) -> Words:
        """The sum of what the survivors contributed: [dim], elements of the ring.

        Raises
        ------
        TooFewDevices
            If too few hold shares of a secret.
        SpoiledShares
            If the shares of a secret do not give it.
        """
        self._next(5)
        roster, digest = self._roster, sha256(self._survivors).digest()

        def read(node: int, reply: bytes) -> Reveal:
            holders = roster.holders(max(0, roster.number_of(node)))
            count = sum(holder in self._committed for holder in holders)
            return self._surviving(node, Reveal.read(reply, count), digest)

        revealed: dict[int, dict[int, bytes]] = {}
        for node, reveal in self._counted(replies, read).items():
            device = roster.number_of(node)
            of = [holder for holder in roster.holders(device) if holder in self._committed]
            revealed[device] = dict(zip(of, reveal.shares, strict=True))
        for device in self._committed:
            holders = roster.holders(device)
            shares = {  # by number
                position: revealed[holder][device]
                for position, holder in enumerate(holders, 1)
                if holder in revealed
            }
            for position in self._remove(device, shares):  # who told one false share tells others
                del revealed[holders[position - 1]]
                self.failures.append(f"node {roster.adverts[holders[position - 1]].node}: a share")
        return self.session.ring.truncate(self._sum)

    def _remove(self, device: int, shares: dict[int, bytes]) -> list[int]:
        """Take a survivor's self mask off the sum, or what a dropped device's neighbours added.

        Returns the numbers of false shares, as far as any was met.
        """
        digest, advert = self.session.digest, self._roster.adverts[device]
        threshold = self._roster.parameters.threshold
        if self._arrived[device]:
            committed = self._committed[device]
            seed, false = _joined(
                shares, threshold, lambda seed: keys.commitment(digest, seed) == committed
            )
            keys.add_mask(self._sum, keys.self_key(digest, seed), -1)
            return false
        seed, false = _joined(
            shares,
            threshold,
            lambda seed: keys.public(keys.mask_private(digest, seed)) == advert.mask_key,
        )
        private = keys.mask_private(digest, seed)
        for other in self._roster.holders(device):
            if self._arrived[other]:
                neighbour = self._roster.adverts[other]
                secret = keys.agreed(private, neighbour.mask_key)
                key = keys.pair_key(digest, secret, advert.node, neighbour.node)
                keys.add_mask(self._sum, key, 1 if device < other else -1)
        return false

    def _counted(
        self, replies: Mapping[int, bytes], read: Callable[[int, bytes], Read]
    ) -> dict[int, Read]:
        """The replies that are as they must be."""
        found = {}
        for node, reply in replies.items():
            try:
                found[node] = read(node, reply)
            except SecureAggregationError as error:
                self.failures.append(f"node {node}: {error}")
        return found

    def _current(self, node: int, message: Shares) -> Shares:
        if self._roster.number_of(node) < 0:
            raise StaleMessage("shares of a device that advertised no keys")
        if message.roster != self._roster.digest:
            raise StaleMessage("shares for another list of adverts")
        return _of(node, message)

    def _surviving(self, node: int, message: Read, digest: bytes) -> Read:
        device = self._roster.number_of(node)
        if device < 0 or not self._arrived[device]:
            raise StaleMessage("message of a device that is no survivor")
        if isinstance(message, Agreement | Reveal) and message.survivors != digest:
            raise StaleMessage("message for other survivors")
        return _of(node, message)

    def _next(self, stage: int) -> None:
        self._during(stage - 1)
        self._stage = stage

    def _during(self, stage: int) -> None:
        if self._stage != stage:
            raise OutOfOrder(f"stage {stage} of the aggregator comes after {self._stage}")


def _of(node: int, message: Read) -> Read:
    if message.node != node:
        raise StaleMessage(f"message of node {message.node}")
    return message


def _joined(
    shares: dict[int, bytes], threshold: int, right: Callable[[bytes], bool]
) -> tuple[bytes, list[int]]:
    """The secret of shares of which some may be false, and the numbers of those that were met.

    The first ones as a rule; where they do not give it, others at random, and then every share is
    held against the polynomial of those that do.
    """
    enough(len(shares), threshold, "revealed a share of one seed")
    numbers = sorted(shares)
    chosen = numbers[:threshold]
    for attempt in range(_TRIES):
        chosen = sorted(_DRAW.sample(numbers, threshold)) if attempt else chosen
        seed = shamir.join({number: shares[number] for number in chosen})
        if right(seed):
            others = [number for number in numbers if number not in chosen] if attempt else []
            return seed, [each for each in others if not _fits(each, chosen, shares, seed)]
    raise SpoiledShares(f"{len(numbers)} shares of one seed do not give it: some are false")


def _fits(number: int, chosen: list[int], shares: dict[int, bytes], seed: bytes) -> bool:
    """Whether a share stands for one of those that give a seed."""
    return shamir.join({each: shares[each] for each in sorted([*chosen[1:], number])}) == seed
