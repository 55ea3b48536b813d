"""Who takes part in a round: Poisson sampling, the kind that the accounting amplifies by.

Where nothing is amplified, and who takes part need not be secret, see
`server.cohort.participation`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from flwr.serverapp import Grid

from shared.errors import ConfigError

_COHORT = 0x636F686F  # keeps this stream apart from others seeded with (seed, round)


def node_ids(grid: Grid) -> Sequence[int]:
    """Every node of a grid; not copied where the grid gives a sequence, such as a range."""
    found = grid.get_node_ids()
    return found if isinstance(found, Sequence) else list(found)


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
        """The cohort of a round, in ascending order of position; may be empty."""
        entropy = secrets.randbits(128) if self._seed is None else self._seed
        rng = np.random.default_rng((self._stream, entropy, round_number))
        if self.probability == 1:
            return list(nodes)
        # Size, then members: the same law as one coin per user, without a coin per user.
        size = rng.binomial(len(nodes), self.probability)
        return [nodes[i] for i in np.sort(rng.choice(len(nodes), size, replace=False))]
