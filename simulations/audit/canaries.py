"""People whose contribution is known: the worst that a person could send, or nothing.

A canary that is in sends an update far beyond the clip along a coordinate of its own, round after
round, and has one item of its own; one that is out sends zeros, as somebody whose data were taken
away. A few others are in whatever happens, and far beyond the clip along all coordinates at once:
they show how an update of many tensors is bounded, and nobody guesses about them. What bounds, sums
and noises canaries is the code of every run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.data.population import Population, smallest
from shared.errors import ConfigError
from shared.update import Update
from simulations.engine.cohort import CohortEngine

_FAR = 1e3  # how far beyond any clip a canary reaches
_SPREAD = 4  # canaries along all coordinates, at most


@dataclass(frozen=True)
class Canaries:
    """Which people are canaries, and which of them are in.

    Attributes
    ----------
    keys : tuple of int
        By key, see `shared.data.population`.
    included : bool [m]
        Each with probability 1/2.
    coordinates : int64 [m]
        Of the trained tensors, everyone's own.
    spread : tuple of int
        Keys of others, who are in and far along all coordinates.
    """

    keys: tuple[int, ...]
    included: npt.NDArray[np.bool_]
    coordinates: npt.NDArray[np.int64]
    spread: tuple[int, ...] = ()

    @classmethod
    def none(cls) -> Canaries:
        """Nobody."""
        return cls((), np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int64))

    @classmethod
    def drawn(cls, population: Population, dim: int, most: int, seed: int) -> Canaries:
        """Up to `most` of a population, one a trained coordinate at most.

        Raises
        ------
        ConfigError
            If there is room for fewer than two.
        """
        chosen = smallest(population.keys, min(most, dim))
        few = min(_SPREAD, len(chosen) // 8)
        keys, spread = chosen[few:], chosen[:few]
        if len(keys) < 2:
            raise ConfigError(f"{len(keys)} canaries: expected at least 2")
        random = np.random.default_rng(seed)
        return cls(
            tuple(keys),
            random.random(len(keys)) < 0.5,
            random.choice(dim, len(keys), replace=False).astype(np.int64),
            tuple(spread),
        )


class WithCanaries:
    """A population in which canaries have one item of their own, or none.

    Parameters
    ----------
    population : Population
    canaries : Canaries
    """

    def __init__(self, population: Population, canaries: Canaries) -> None:
        self._population = population
        self._places = {key: place for place, key in enumerate(canaries.keys)}
        self._canaries = canaries

    def __getattr__(self, name: str) -> Any:
        return getattr(self._population, name)

    def __len__(self) -> int:
        return len(self._population)

    def history(self, user: int) -> npt.NDArray[np.int64]:
        """A canary's own item, or nothing; of others what they have."""
        place = self._places.get(self._population.keys[user])
        if place is None:
            return self._population.history(user)
        items = len(self._population.catalogue)
        own = [place % items] if self._canaries.included[place] else []
        return np.array(own, dtype=np.int64)


class AuditedEngine(CohortEngine):
    """The cohort engine, in whose population some are canaries."""

    canaries: Canaries

    def hold(self, canaries: Canaries) -> None:
        """Begin with these."""
        self.canaries = canaries
        self._honest, self._mixed = self.population, WithCanaries(self.population, canaries)
        self._places = {key: place for place, key in enumerate(canaries.keys)}

    def _whole(self, *asked: Any, **named: Any) -> Iterator[tuple[list[int], Tensor]]:
        for members, deltas in super()._whole(*asked, **named):
            yield members, self._replaced(members, deltas)

    def _histogram(self, *asked: Any) -> tuple[list[int], Update]:
        self.population = self._mixed
        try:
            return super()._histogram(*asked)
        finally:
            self.population = self._honest

    @property
    def mixed(self) -> WithCanaries:
        """The population with them."""
        return self._mixed

    def far(self, key: int, dim: int) -> npt.NDArray[np.float32]:
        """What a canary's own update is before any clip, float32 [dim]."""
        update = np.zeros(dim, dtype=np.float32)
        place = self._places.get(key)
        if place is None:
            update[:] = _FAR
        elif self.canaries.included[place]:
            update[self.canaries.coordinates[place]] = _FAR
        return update

    def _replaced(self, members: Sequence[int], deltas: Tensor) -> Tensor:
        mine = deltas.clone()
        for row, key in enumerate(members):
            if key in self._places or key in self.canaries.spread:
                mine[row] = torch.from_numpy(self.far(key, mine.shape[1])).to(mine)
        return mine
