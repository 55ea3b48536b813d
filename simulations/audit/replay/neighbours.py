"""The same people but for one thing: what may change nothing of what anyone else sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.data.population import Population


class Without:
    """A population in which one person has no interactions: their slot is public, and stays.

    Parameters
    ----------
    population : Population
    person : int
        Their key.
    """

    def __init__(self, population: Population, person: int) -> None:
        self._population = population
        self._gone = population.user_of(person)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._population, name)

    def __len__(self) -> int:
        return len(self._population)

    def history(self, user: int) -> npt.NDArray[np.int64]:
        """Item indices, oldest first, int64 [n]."""
        return np.zeros(0, np.int64) if user == self._gone else self._population.history(user)


class Reordered:
    """A population from its last person to its first.

    Parameters
    ----------
    population : Population
    """

    def __init__(self, population: Population) -> None:
        self._population = population

    def __getattr__(self, name: str) -> Any:
        return getattr(self._population, name)

    def __len__(self) -> int:
        return len(self._population)

    @property
    def keys(self) -> Sequence[int]:
        """Theirs, the last first."""
        return list(self._population.keys)[::-1]

    def history(self, user: int) -> npt.NDArray[np.int64]:
        """Item indices, oldest first, int64 [n]."""
        return self._population.history(len(self) - 1 - user)

    def user_of(self, key: int) -> int:
        """The index here of the user with a key."""
        return len(self) - 1 - self._population.user_of(key)
