"""An interaction log in memory: who interacted with what, in which order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.data.catalogue import Catalogue
from shared.data.identifiers import TwoSpellingsError, alike, normalised, spellings
from shared.data.population import check_user, keys_of, user_of
from shared.data.split import MIN_EVALUATED
from shared.errors import DataError


@dataclass(frozen=True)
class Reading:
    """What was done to a log's files to read them.

    Attributes
    ----------
    digits : int
        Decimal digits of the times, >= 0: a time is its timestamp / 10^digits.
    normalised : int
        Spellings of identifiers that differ from the form in which they were taken.
    """

    digits: int = 0
    normalised: int = 0


@dataclass(frozen=True)
class Ties:
    """Where times do not tell the order, and that of the rows does.

    Attributes
    ----------
    interactions : int
        Those that share their user's time with another one.
    test_targets : int
        Users whose test target has the time of the interaction before it.
    """

    interactions: int
    test_targets: int


class InteractionLog:
    """Histories of all users in one array of items and one of offsets (implements `Population`).

    A user's interactions are sorted by timestamp; equal timestamps keep the order of the rows. An
    item that a user meets again keeps its earliest interaction; the later ones are dropped and
    counted, and an exact duplicate row is dropped by the same rule.

    Parameters
    ----------
    frame : mapping of str to sequence
        `user` and `item` (str) and `timestamp` (whole numbers), one entry per interaction; a
        DataFrame is one. Others are ignored.
    catalogue : Catalogue
        Holds every item of the frame.
    name : str
        For reports and messages.
    users : sequence of str, optional
        All users in order, among them possibly some without interactions. By default those of the
        frame in order of first appearance.
    reading : Reading, optional
        What was done to files to get here.

    Attributes
    ----------
    dropped : int
        Interactions with an item that the user had met before.

    Raises
    ------
    DataError
        For an unknown item, a user missing from `users` or in two spellings, no users at all, or a
        timestamp that is no whole number in 64 bits. Readers give file and row as well.
    """

    def __init__(
        self,
        frame: Mapping[str, Any],
        catalogue: Catalogue,
        name: str = "log",
        users: Sequence[str] | None = None,
        reading: Reading = Reading(),
    ) -> None:
        self.name = name
        self.catalogue = catalogue
        self.reading = reading
        found = [str(user) for user in frame["user"]]
        forms = _forms([*(users or ()), *found], name)
        found = [forms[user] for user in found]
        self._user_ids: tuple[str, ...] = tuple(
            dict.fromkeys(found) if users is None else (forms[user] for user in users)
        )
        if not self._user_ids:
            raise DataError(f"{name}: no users; give at least one interaction")
        self._users = {user_id: index for index, user_id in enumerate(self._user_ids)}
        if len(self._users) != len(self._user_ids):
            raise DataError(f"{name}: the list of users names a user twice; keep one")
        user = _positions(found, self._users, f"{name}: user {{!r}} is not in the list of users")
        item = _positions(
            map(str, frame["item"]),
            {item_id: index for index, item_id in enumerate(catalogue.item_ids)},
            f"{name}: item {{!r}} is not in the catalogue; add it to the items file",
        )
        self._fill(user, item, _times(frame["timestamp"], name))

    def _fill(
        self, user: NDArray[np.int64], item: NDArray[np.int64], time: NDArray[np.int64]
    ) -> None:
        order = np.lexsort((time, user))  # stable: ties keep the order of the rows
        pair = user[order] * len(self.catalogue) + item[order]
        first = np.zeros(len(pair), dtype=bool)
        first[np.unique(pair, return_index=True)[1]] = True
        kept = order[first]
        counts = np.bincount(user[kept], minlength=len(self._user_ids))
        self._offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        self._items = item[kept]
        self._items.flags.writeable = False  # histories are views
        self._times = time[kept]
        self.dropped = len(order) - len(kept)

    @property
    def interactions(self) -> int:
        """Number of interactions kept."""
        return len(self._items)

    @property
    def span(self) -> tuple[Decimal, Decimal] | None:
        """Earliest and latest time in the log's own unit, exactly; None without interactions.

        That of dates is seconds since 1970.
        """
        if not len(self._times):
            return None
        first, last = int(self._times.min()), int(self._times.max())
        return Decimal(first).scaleb(-self.reading.digits), Decimal(last).scaleb(
            -self.reading.digits
        )

    @cached_property
    def ties(self) -> Ties:
        """Where the order of the rows decides, because times are equal."""
        owner = np.repeat(np.arange(len(self)), np.diff(self._offsets))
        same = (np.diff(self._times) == 0) & (np.diff(owner) == 0)
        tied = np.append(same, False) | np.append(False, same)
        ends = self._offsets[1:][np.diff(self._offsets) >= MIN_EVALUATED]
        return Ties(int(tied.sum()), int(same[ends - 2].sum()))

    @cached_property
    def alike(self) -> int:
        """Users and items whose identifiers differ from another's by case or zeros only."""
        return alike(self._user_ids) + alike(self.catalogue.item_ids)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over catalogue, user ids and histories, whatever order users come in."""
        users = sorted(range(len(self)), key=self._user_ids.__getitem__)
        content = hashlib.sha256(self.catalogue.digest.encode())
        content.update(json.dumps([self._user_ids[user] for user in users]).encode())
        content.update(np.diff(self._offsets)[users].astype("<i8").tobytes())
        for user in users:
            content.update(self.history(user).astype("<i8").tobytes())
        return content.hexdigest()

    def __len__(self) -> int:
        return len(self._user_ids)

    def history(self, user: int) -> NDArray[np.int64]:
        """Item indices, oldest first, int64 [n], read-only; may be empty.

        Raises
        ------
        DataError
            If the index is outside [0, len).
        """
        check_user(user, len(self), self.name)
        return self._items[self._offsets[user] : self._offsets[user + 1]]

    def timestamps(self, user: int) -> NDArray[np.int64]:
        """When each item of `history(user)` happened, int64 [n], in 10^-digits of its unit."""
        check_user(user, len(self), self.name)
        return self._times[self._offsets[user] : self._offsets[user + 1]]

    def user_id(self, user: int) -> str:
        """The identifier of the user at an index in [0, len)."""
        check_user(user, len(self), self.name)
        return self._user_ids[user]

    def user_index(self, user_id: str) -> int:
        """The index of a user.

        Raises
        ------
        DataError
            If the log does not know the user.
        """
        try:
            return self._users[normalised(user_id)]
        except KeyError:
            raise DataError(
                f"{self.name}: user {user_id!r} is not among the {len(self)} users of the log"
            ) from None

    @cached_property
    def keys(self) -> tuple[int, ...]:
        """Every user's key, in the order of the indices.

        Raises
        ------
        DataError
            If two users have one.
        """
        return tuple(self._by_key)

    @cached_property
    def _by_key(self) -> dict[int, int]:
        return keys_of(self._user_ids, self.name)

    def user_of(self, key: int) -> int:
        """The index of the user with a key; `DataError` if nobody has it."""
        return user_of(self._by_key, key, self.name)


def _forms(users: list[str], name: str) -> dict[str, str]:
    try:
        forms = spellings(users).forms
    except TwoSpellingsError as error:
        raise DataError(
            f"{name}: users {error.first!a} and {error.second!a} cannot be told apart; "
            "write one way, or give one of them another identifier"
        ) from None
    if "" in forms.values():
        raise DataError(f"{name}: a user is blank; give everybody an identifier")
    return forms


def _positions(values: Iterable[str], table: dict[str, int], message: str) -> NDArray[np.int64]:
    positions = []
    for value in values:
        if (position := table.get(value)) is None:
            raise DataError(message.format(value))
        positions.append(position)
    return np.array(positions, dtype=np.int64)


def _times(values: Sequence[int] | NDArray[np.int64], name: str) -> NDArray[np.int64]:
    times = np.asarray(values)
    if len(times) == 0:
        return np.empty(0, dtype=np.int64)
    if times.dtype.kind not in "iu" or int(times.max()) >= 1 << 63:
        raise DataError(f"{name}: timestamps must be whole numbers in 64 bits; see docs/data.md")
    return times.astype(np.int64)
