"""Roster: who advertised keys, in which order, who is whose neighbour, and who survived.

Every participant reads the same bytes, so what follows from them alone is kept for those that share
a process.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from shared.errors import (
    ForgedSignature,
    InconsistentSets,
    IsolatedDevices,
    StaleMessage,
    TooFewDevices,
)
from shared.secagg import keys
from shared.secagg.messages import ADVERT, ADVERTS, QUORUM, SURVIVORS, Advert
from shared.secagg.parameters import MOST_DEVICES, Parameters, parameters
from shared.secagg.session import Session
from shared.secagg.wire import Members, Reader, members, number


@dataclass(frozen=True, eq=False)
class Roster:
    """What a list of adverts says; devices go by their number in it, 0 to n - 1, by node.

    Parameters
    ----------
    session : Session
    digest : bytes
        SHA-256 of the session's digest and the list.
    adverts : tuple of Advert
    parameters : Parameters
    ring : tuple of int
        The devices in the order of the ring: by a hash of the list and their nodes, which nobody
        chooses who does not advertise last.
    """

    session: Session
    digest: bytes
    adverts: tuple[Advert, ...]
    parameters: Parameters
    ring: tuple[int, ...]

    def number_of(self, node: int) -> int:
        """The number of a node; -1 if it advertised no keys."""
        return self._numbers.get(node, -1)

    def holders(self, device: int) -> list[int]:
        """A device's neighbours and itself: who gets shares number 1, 2, ... of its secrets."""
        if self.parameters.complete:
            return list(range(len(self.adverts)))
        half, place = self.parameters.neighbours // 2, self._places[device]
        around = range(place - half, place + half + 1)
        return [self.ring[each % len(self.ring)] for each in around]

    def check_connected(self, survivors: Members) -> None:
        """Refuse dropouts with which those in league could cut off some of the other survivors.

        A ring in which each is next to k / 2 on either side falls apart only where two separate
        windows of k / 2 places hold none of those that count.

        Raises
        ------
        IsolatedDevices
        """
        if self.parameters.complete:
            return
        half, cohort = self.parameters.neighbours // 2, len(self.ring)
        gone = np.concatenate([~survivors[list(self.ring)]] * 2).astype(np.int64)
        until = np.concatenate([[0], np.cumsum(gone)])
        window = until[half : half + cohort] - until[:cohort]  # [cohort], by its first place
        apart = np.concatenate([window, window])[half : 2 * cohort - half]
        others = np.lib.stride_tricks.sliding_window_view(apart, cohort - 2 * half + 1)
        worst = int((window + others[:cohort].max(axis=1)).max())
        if worst > self.parameters.missing:
            raise IsolatedDevices(
                f"{worst} devices are gone from {2 * half} places of the ring: expected at most "
                f"{self.parameters.missing}"
            )

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {advert.node: number for number, advert in enumerate(self.adverts)}

    @cached_property
    def _places(self) -> dict[int, int]:
        return {device: place for place, device in enumerate(self.ring)}


@lru_cache(maxsize=4)
def read_roster(data: bytes, session: Session) -> Roster:
    """What a list of adverts says, when every signature in it holds.

    Raises
    ------
    MalformedMessage, StaleMessage
        If it is none, or of another session.
    ForgedSignature
        If a signature is not its identity's, or two devices show the same key.
    TooFewDevices
        If they are fewer than a sum must hold.
    """
    reader = Reader(data, "list of adverts")
    reader.kind(ADVERTS)
    if reader.take(32) != session.digest:
        raise StaleMessage("list of adverts is of another session")
    count = reader.number(4)
    if count > MOST_DEVICES:
        raise reader.error(f"claims {count} devices: expected at most {MOST_DEVICES}")
    adverts = tuple(Advert.read(reader.take(ADVERT)) for _ in range(count))
    reader.end()
    if any(one.node >= other.node for one, other in pairwise(adverts)):
        raise reader.error("is not in the order of nodes, or holds one twice")
    for advert in adverts:
        advert.verify(session.digest)
    shown = [each for advert in adverts for each in (advert.seal_key, advert.mask_key)]
    for several in (shown, [advert.identity for advert in adverts]):
        if len(set(several)) < len(several):
            raise ForgedSignature("two devices show the same key")
    found = parameters(count, session.fewest, session.colluding)
    digest = hashlib.sha256(session.digest + data).digest()

    def key(device: int) -> bytes:
        return hashlib.sha256(digest + number(adverts[device].node, 8)).digest()

    ring = tuple(sorted(range(count), key=key))
    return Roster(session, digest, adverts, found, ring)


def write_roster(adverts: dict[int, Advert], session: Session) -> bytes:
    """Kind (1), session (32), count (4), adverts (169 each) by node."""
    head = number(ADVERTS, 1) + session.digest + number(len(adverts), 4)
    return head + b"".join(adverts[node].to_bytes() for node in sorted(adverts))


def write_survivors(roster: Roster, shared: Members, survivors: Members) -> bytes:
    """Kind (1), roster (32), who shared seeds, whose masked input arrived (a bit each)."""
    return number(SURVIVORS, 1) + roster.digest + members(shared) + members(survivors)


@lru_cache(maxsize=4)
def read_survivors(roster: Roster, data: bytes) -> tuple[Members, Members]:
    """Who shared seeds and whose masked input arrived, if a sum over these may be opened.

    Raises
    ------
    MalformedMessage, StaleMessage
        If the message is none, or of another list of adverts.
    InconsistentSets
        If somebody survived who did not share.
    TooFewDevices, IsolatedDevices
        If they are too few, or may be cut off.
    """
    reader = Reader(data, "list of survivors")
    reader.kind(SURVIVORS)
    if reader.take(32) != roster.digest:
        raise StaleMessage("list of survivors is of another list of adverts")
    cohort = len(roster.adverts)
    shared, survivors = reader.members(cohort), reader.members(cohort)
    reader.end()
    if (survivors & ~shared).any():
        raise InconsistentSets("list of survivors names devices that shared no seeds")
    enough(int(survivors.sum()), roster.parameters.fewest, "sent masked input")
    roster.check_connected(survivors)
    return shared, survivors


def write_quorum(roster: Roster, survivors: bytes, signatures: dict[int, bytes]) -> bytes:
    """Kind (1), survivors (32), who signed (a bit each), their signatures (64 each)."""
    signed = np.zeros(len(roster.adverts), np.bool_)
    signed[list(signatures)] = True
    head = number(QUORUM, 1) + hashlib.sha256(survivors).digest() + members(signed)
    return head + b"".join(signatures[device] for device in sorted(signatures))


@lru_cache(maxsize=4)
def check_quorum(roster: Roster, survivors: bytes, data: bytes) -> None:
    """Refuse what is no proof that enough survivors signed for the very same list of survivors.

    Raises
    ------
    MalformedMessage, StaleMessage
        If the message is none, or is of other survivors.
    InconsistentSets
        If somebody signed who did not survive.
    TooFewDevices
        If fewer signed than there must be.
    ForgedSignature
        If a signature is not its identity's.
    """
    reader = Reader(data, "quorum")
    reader.kind(QUORUM)
    if reader.take(32) != hashlib.sha256(survivors).digest():
        raise StaleMessage("quorum is for other survivors")
    signed = reader.members(len(roster.adverts))
    signatures = [(int(device), reader.take(keys.SIGNATURE)) for device in np.flatnonzero(signed)]
    reader.end()
    if (signed & ~read_survivors(roster, survivors)[1]).any():
        raise InconsistentSets("quorum holds signatures of devices that are no survivors")
    enough(len(signatures), roster.parameters.quorum, "agreed on the survivors")
    content = keys.survivors_content(roster.session.digest, survivors)
    for device, signature in signatures:
        advert = roster.adverts[device]
        keys.verify(advert.identity, signature, content, f"node {advert.node}")


def enough(count: int, least: int, did: str) -> None:
    """Refuse what too few devices did.

    Raises
    ------
    TooFewDevices
    """
    if count < least:
        raise TooFewDevices(f"{count} devices {did}: expected {least} or more")
