"""A population: users, each with a history of items, held in memory or generated on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.data.catalogue import Catalogue
from shared.data.identifiers import normalised
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

    @property
    def keys(self) -> Sequence[int]:
        """Every user's key, in the order of the indices.

        Whatever is drawn for a person, or assigned to them, follows the key. It is made of their
        identifier alone (in the world, of their number), so that nobody else's coming, going or
        data can change it, as they do change an index.
        """
        ...

    def user_of(self, key: int) -> int:
        """The index of the user with a key; `DataError` if there is none."""
        ...


def person_key(user_id: str) -> int:
    """The key of a person, in [0, 2^62): from SHA-256 of their identifier behind a fixed prefix.

    The same in every log and on the person's own device, however the identifier is spelled
    (`shared.data.identifiers.normalised`). It is no secret: whoever guesses it can compute it.

    Examples
    --------
    >>> person_key("1")
    1122988569776331332
    """
    name = normalised(user_id)
    digest = hashlib.sha256(b"starling person\0" + name.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "little") >> 2


def keys_of(user_ids: Iterable[str], name: str) -> dict[int, int]:
    """Index by key, in order.

    Raises
    ------
    DataError
        If two users have one key (by chance in one of ten million logs of a million people).
    """
    found: dict[int, int] = {}
    for user, user_id in enumerate(user_ids):
        if found.setdefault(person_key(user_id), user) != user:
            raise DataError(
                f"{name}: users {user} and {found[person_key(user_id)]} have one key, which "
                f"must tell them apart; give user {user_id!r} another identifier"
            )
    return found


def smallest(keys: Sequence[int], most: int) -> list[int]:
    """At most so many of distinct keys, the smallest, ascending: who they are rests on no order.

    A range is not gone through.

    Examples
    --------
    >>> smallest([7, 2, 9], 2), smallest(range(10**9), 3)
    ([2, 7], [0, 1, 2])
    """
    if isinstance(keys, range) and keys.step > 0:
        return list(keys[:most])
    return sorted(keys)[:most]


def history_of(population: Population, key: int) -> NDArray[np.int64]:
    """The history of the person with a key, int64 [n]."""
    return population.history(population.user_of(key))


def check_user(user: int, users: int, name: str) -> None:
    """Refuse an index outside [0, users), negative ones included.

    Raises
    ------
    DataError
        Naming index, population and accepted range.
    """
    if not 0 <= user < users:
        raise DataError(f"{name}: user index {user} is outside [0, {users})")


class ChosenUsers:
    """Some users of a population, with the whole catalogue: those with the smallest keys.

    Who they are follows from the list of people, which is public, and from no place in it. Somebody
    without interactions who is on the list keeps their slot; only somebody who is taken off it
    makes room for the next.

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
        self._keys = smallest(population.keys, users)

    @property
    def name(self) -> str:
        """The name of the whole and the number of users taken."""
        return f"{self._population.name} ({len(self)} users)"

    @property
    def catalogue(self) -> Catalogue:
        """That of the whole."""
        return self._population.catalogue

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole's digest and the number of users taken."""
        return hashlib.sha256(f"{self._population.digest}:{len(self)}".encode()).hexdigest()

    @property
    def interactions(self) -> int:
        """Counted over the users taken."""
        return sum(len(self.history(user)) for user in range(len(self)))

    @property
    def keys(self) -> Sequence[int]:
        """Theirs, ascending: so the order of the whole is not seen in the indices either."""
        return self._keys

    @cached_property
    def _users(self) -> dict[int, int]:
        return {key: user for user, key in enumerate(self._keys)}

    def __len__(self) -> int:
        return len(self._keys)

    def history(self, user: int) -> NDArray[np.int64]:
        """Item indices, oldest first, int64 [n]."""
        return self._population.history(self._within(user))

    def user_id(self, user: int) -> str:
        """The identifier of the user at an index."""
        return self._population.user_id(self._within(user))

    def user_index(self, user_id: str) -> int:
        """The index of a user.

        Raises
        ------
        DataError
            If the whole does not know the user, or it is not among the chosen.
        """
        key = self._population.keys[self._population.user_index(user_id)]
        if key not in self._users:
            raise DataError(f"{self.name}: user {user_id!r} is not among them")
        return self._users[key]

    def user_of(self, key: int) -> int:
        """The index of the user with a key; `DataError` if it is not among the chosen."""
        return user_of(self._users, key, self.name)

    def _within(self, user: int) -> int:
        """The index in the whole."""
        check_user(user, len(self), self.name)
        return self._population.user_of(self._keys[user])


def user_of(users: Mapping[int, int], key: int, name: str) -> int:
    """The index that a key has.

    Raises
    ------
    DataError
        If it has none.
    """
    try:
        return users[key]
    except KeyError:
        raise DataError(f"{name}: nobody has the key {key}; there are {len(users)} users") from None
