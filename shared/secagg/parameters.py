"""How many neighbours, shares and signatures a cohort needs: exact, so that everybody agrees.

Every device computes these again from the number of adverts and from the session. Chances are
compared in whole numbers, because a device whose library rounds otherwise would hold other
neighbours for right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from shared.errors import TooFewDevices

FAILURE = 40
"""With chance 2^-40 at most may a round's secrets be open to those in league, or may a round within
the tolerated dropout not be opened. Each is split evenly between shares and connection."""

MOST_DEVICES = 10_000
"""In one cohort."""

_SMALL = 64  # devices for which a complete graph, which rests on no chance, costs next to nothing


@dataclass(frozen=True)
class Parameters:
    """What holds in one cohort.

    Parameters
    ----------
    cohort : int
        n: devices that advertised keys.
    colluders : int
        c = floor(colluding x n): devices in league with the server, at most.
    quorum : int
        T = floor((n + c) / 2) + 1 signatures under one set of survivors. Two sets cannot both have
        so many: 2 T - c > n, and no honest device signs twice.
    fewest : int
        M: survivors that a sum must hold, the larger of what the session asks and T. Dropouts
        tolerated, over all stages: n - M.
    neighbours : int
        k: devices that each shares masks with; n - 1 where the graph is complete, else even.
    threshold : int
        t: shares that give a secret, of those k + 1 that its neighbours and itself hold.
    missing : int
        Dropped devices that two separate windows of k / 2 places may hold together; in a complete
        graph, which no dropout disconnects, n.
    """

    cohort: int
    colluders: int
    quorum: int
    fewest: int
    neighbours: int
    threshold: int
    missing: int

    @property
    def complete(self) -> bool:
        """Whether everybody is everybody's neighbour."""
        return self.neighbours == self.cohort - 1


@lru_cache(maxsize=256)
def parameters(cohort: int, fewest: int, colluding: float) -> Parameters:
    """The smallest graph that keeps both promises.

    Colluders are a random set of c; dropouts that must be survived are a random set of n - M.
    (Those that a server claims need not be random: `missing` bounds what it may claim.)

    * Privacy, shares: none of n devices has t colluders among its k neighbours.
    * Privacy, connection: two separate windows that colluders and dropped devices fill would split
      the honest survivors, whose sums would show. No two windows, k places together, hold
      k - missing colluders; a device signs for no more than `missing` dropped ones.
    * Dropout, shares: none has fewer than t neighbours left, itself being gone.
    * Dropout, connection: no two windows have lost more than `missing`.

    Numbers in k places are hypergeometric, and each line has 2^-41 for all its devices or pairs of
    windows together. k is found by doubling and halving. Up to 64 devices the graph is complete.

    Parameters
    ----------
    cohort : int
        2 to 10,000.
    fewest : int
        That a sum must hold, as the session says.
    colluding : float
        [0, 0.5).

    Raises
    ------
    TooFewDevices
        If the cohort is smaller than `fewest`, or than 2.
    """
    if not max(2, fewest) <= cohort <= MOST_DEVICES:
        raise TooFewDevices(
            f"{cohort} devices advertised keys: expected {max(2, fewest)} to {MOST_DEVICES}"
        )
    colluders = math.floor(colluding * cohort)
    quorum = (cohort + colluders) // 2 + 1
    least = max(fewest, quorum)

    def suffices(neighbours: int) -> tuple[int, int] | None:
        return _sparse(cohort, colluders, least, neighbours)

    complete = Parameters(cohort, colluders, quorum, least, cohort - 1, quorum, cohort)
    low, high, most = 0, 2, (cohort - 2) // 2 * 2
    while high < most and not suffices(high):
        low, high = high, min(2 * high, most)
    if cohort <= _SMALL or not suffices(high):
        return complete
    while high - low > 2:
        middle = (low + high) // 4 * 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    threshold, missing = suffices(high) or (0, 0)
    return Parameters(cohort, colluders, quorum, least, high, threshold, missing)


def _sparse(cohort: int, colluders: int, least: int, neighbours: int) -> tuple[int, int] | None:
    """Threshold and missing, where so many neighbours suffice."""
    others, pairs = cohort - 1, cohort * cohort // 2
    threshold = max(2, _rare(others, colluders, neighbours, cohort))
    lost = _rare(others, max(0, others - least), neighbours, cohort) - 1
    missing = neighbours - _rare(cohort, colluders, neighbours, pairs)
    gone = _rare(cohort, cohort - least, neighbours, pairs) - 1
    return (threshold, missing) if neighbours - lost >= threshold and gone <= missing else None


def _rare(total: int, marked: int, drawn: int, events: int) -> int:
    """The smallest number that so many draws show at least with chance <= 2^-41 / events.

    Draws without replacement from `total`, of which `marked` are marked.
    """
    number = min(marked, drawn)
    ways = math.comb(marked, number) * math.comb(total - marked, drawn - number)
    allowed = math.comb(total, drawn) // (events << (FAILURE + 1))
    tail = ways
    while tail <= allowed and number > 0:
        ways = ways * number * (total - marked - drawn + number)
        ways //= (marked - number + 1) * (drawn - number + 1)
        number -= 1
        tail += ways
    return number if tail <= allowed else number + 1
