"""Who takes part in a round: Poisson sampling, the kind that the accounting amplifies by.

Where nothing is amplified, and who takes part need not be secret, see
`server.cohort.participation`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from logging import WARNING
from typing import Protocol

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from flwr.serverapp import Grid
from flwr.supercore import log

from shared.errors import ConfigError

_COHORT = 0x636F686F  # keeps this stream apart from others seeded with (seed, round)
PATIENCE = 120.0
"""Seconds in which nodes return that lost their server: it was started anew, or a network broke."""
_AGAIN = 3.0  # seconds from one look at who is connected to the next
_EVERY = 60.0  # seconds from one line about it to the next
_AT_ONCE = 1 << 16  # nodes whose coins are in memory together


def node_ids(grid: Grid, enough: int = 0) -> Sequence[int]:
    """Every node of a grid; not copied where the grid gives a sequence, such as a range.

    Parameters
    ----------
    grid : Grid
    enough : int
        Nodes without which a round would be lost: while there are fewer, it is not begun, for two
        minutes at most.
    """
    until, again = time.monotonic() + PATIENCE, 0.0
    while True:
        found = grid.get_node_ids()
        nodes = found if isinstance(found, Sequence) else list(found)
        now = time.monotonic()
        if len(nodes) >= enough or now >= until:
            return nodes
        if now >= again:
            again = now + _EVERY
            log(WARNING, f"waiting: {len(nodes)} nodes are connected, a round needs {enough}")
        time.sleep(_AGAIN)


def words(nodes: Sequence[int], *context: int) -> npt.NDArray[np.uint64]:
    """One uniform word of each node [n], a function of the context and of that node alone.

    So whoever else is there has no say in what a node draws. AES under a key made of the context:
    who knows some nodes' words and not the context learns nothing of the others'.

    Parameters
    ----------
    nodes : sequence of int
        In [0, 2^64).
    *context : int
        What the words are for, and what they are kept secret by if they are.
    """
    named = ",".join(map(str, context))
    key = hashlib.sha256(f"starling nodes {named}".encode()).digest()
    blocks = np.zeros((len(nodes), 2), dtype="<u8")
    blocks[:, 0] = np.asarray(nodes, dtype=np.uint64)
    # One block a node, each another: ECB is the permutation itself.
    drawn = Cipher(AES(key), ECB()).encryptor().update(blocks.tobytes())
    return np.frombuffer(drawn, dtype="<u8")[::2]


class Sampler(Protocol):
    """What a round needs to know of who takes part."""

    expected: float  # cohort that sums are divided by
    users: int  # size of the population

    def draw(self, round_number: int, nodes: Sequence[int]) -> list[int]:
        """The cohort of a round, in ascending order of position; may be empty."""
        ...


class PoissonSampler:
    """Every user takes part in a round independently with the same probability.

    Parameters
    ----------
    expected : float
        Expected cohort, > 0 and at most `users`.
    users : int
        Size of the population, >= 1.
    seed : int or None
        A simulation's seed. None draws each round from the operating system's entropy, as a
        deployment must: amplification counts only against those who never learn the cohort.
    stream : int
        What the samples are for: under one seed, other streams draw independently.

    Raises
    ------
    ConfigError
        If the expected cohort exceeds the population.
    """

    def __init__(
        self, expected: float, users: int, seed: int | None, stream: int = _COHORT
    ) -> None:
        if not 0 < expected <= users:
            raise ConfigError(f"expected cohort = {expected:g}: must be in (0, {users}]")
        self.expected = expected
        self.users = users
        self.probability = expected / users
        self._seed = seed
        self._stream = stream

    def draw(self, round_number: int, nodes: Sequence[int]) -> list[int]:
        """The cohort of a round, in ascending order of position; may be empty.

        One coin per node, a block of them at a time.
        """
        if self.probability == 1:
            return list(nodes)
        entropy = secrets.randbits(128) if self._seed is None else self._seed
        chosen: list[int] = []
        for start in range(0, len(nodes), _AT_ONCE):
            some = nodes[start : start + _AT_ONCE]
            coins = words(some, self._stream, entropy, round_number)
            heads = coins < np.uint64(self.probability * 2.0**64)
            chosen += [some[i] for i in np.flatnonzero(heads).tolist()]
        return chosen
