"""A population: users, each with a history of items, held in memory or generated on demand."""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.data.catalogue import Catalogue
from shared.errors import DataError


class Population(Protocol):
    """What every engine needs to know of its users."""

    @property
    def name(self) -> str:
        """Where the population comes from, for reports."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """The items that histories point into."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the content, or of the generator's parameters if it is lazy."""
        ...

    @property
    def interactions(self) -> int:
        """Number of interactions; the expected number if the population is lazy."""
        ...

    def __len__(self) -> int: ...

    def history(self, user: int) -> NDArray[np.int64]:
        """Item indices, oldest first, int64 [n]; may be empty, never holds an item twice."""
        ...

    def user_id(self, user: int) -> str:
        """The identifier of the user at an index."""
        ...

    def user_index(self, user_id: str) -> int:
        """The index of a user; `DataError` if unknown."""
        ...


def check_user(user: int, users: int, name: str) -> None:
    """Refuse an index outside [0, users), negative ones included.

    Raises
    ------
    DataError
        Naming index, population and accepted range.
    """
    if not 0 <= user < users:
        raise DataError(f"{name}: user index {user} is outside [0, {users})")


class FirstUsers:
    """The first users of a population, with the whole catalogue.

    Parameters
    ----------
    population : Population
    users : int
        In [1, len(population)].

    Raises
    ------
    DataError
        If there are not that many users.
    """

    def __init__(self, population: Population, users: int) -> None:
        if not 1 <= users <= len(population):
            raise DataError(
                f"data.users = {users}: {population.name} has {len(population)} users;"
                f" choose from 1 to {len(population)}"
            )
        self._population = population
        self._users = users

    @property
    def name(self) -> str:
        """The name of the whole and the number of users taken."""
        return f"{self._population.name} (first {self._users} users)"

    @property
    def catalogue(self) -> Catalogue:
        """That of the whole."""
        return self._population.catalogue

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole's digest and the number of users taken."""
        return hashlib.sha256(f"{self._population.digest}:{self._users}".encode()).hexdigest()

    @property
    def interactions(self) -> int:
        """Counted over the users taken."""
        return sum(len(self.history(user)) for user in range(self._users))

    def __len__(self) -> int:
        return self._users

    def history(self, user: int) -> NDArray[np.int64]:
        """Item indices, oldest first, int64 [n]."""
        check_user(user, self._users, self.name)
        return self._population.history(user)

    def user_id(self, user: int) -> str:
        """The identifier of the user at an index."""
        check_user(user, self._users, self.name)
        return self._population.user_id(user)

    def user_index(self, user_id: str) -> int:
        """The index of a user.

        Raises
        ------
        DataError
            If the whole does not know the user, or it is not among the first.
        """
        user = self._population.user_index(user_id)
        if user >= self._users:
            raise DataError(f"{self.name}: user {user_id!r} is not among them")
        return user
