"""An interaction log in memory: who interacted with what, in which order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.data.catalogue import Catalogue
from shared.data.population import check_user, keys_of, user_of
from shared.errors import DataError


class InteractionLog:
    """Histories of all users in one array of items and one of offsets (implements `Population`).

    A user's interactions are sorted by timestamp; equal timestamps keep the order of the rows. An
    item that a user meets again keeps its earliest interaction; the later ones are dropped and
    counted, and an exact duplicate row is dropped by the same rule.

    Parameters
    ----------
    frame : DataFrame
        Columns `user` and `item` (str) and `timestamp` (finite numbers), one row per interaction.
        Other columns are ignored.
    catalogue : Catalogue
        Holds every item of the frame.
    name : str
        For reports and messages.
    users : sequence of str, optional
        All users in order, among them possibly some without interactions. By default those of the
        frame in order of first appearance.

    Raises
    ------
    DataError
        For an unknown item, a user missing from `users`, no users at all, or a timestamp that is
        not finite. `readers.columns.read_log` gives file and row as well.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        catalogue: Catalogue,
        name: str = "log",
        users: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self.catalogue = catalogue
        found = frame["user"].astype(str)
        self._user_ids: tuple[str, ...] = tuple(users if users is not None else found.unique())
        if not self._user_ids:
            raise DataError(f"{name}: no users; give at least one interaction")
        self._users = {user_id: index for index, user_id in enumerate(self._user_ids)}
        if len(self._users) != len(self._user_ids):
            raise DataError(f"{name}: the list of users names a user twice; keep one")
        user = _positions(found, self._users, f"{name}: user {{!r}} is not in the list of users")
        self._fill(user, _item_positions(frame, catalogue, name), _times(frame, name))

    def _fill(
        self, user: NDArray[np.int64], item: NDArray[np.int64], time: NDArray[np.generic]
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
    def span(self) -> tuple[float, float] | None:
        """Earliest and latest timestamp in the log's own unit; None without interactions."""
        return (float(self._times.min()), float(self._times.max())) if len(self._times) else None

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over catalogue, user ids and histories."""
        content = hashlib.sha256(self.catalogue.digest.encode())
        content.update(json.dumps(self._user_ids).encode())
        content.update(self._offsets.astype("<i8").tobytes())
        content.update(self._items.astype("<i8").tobytes())
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

    def timestamps(self, user: int) -> NDArray[np.generic]:
        """When each item of `history(user)` happened, [n], in the log's own unit."""
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
            return self._users[user_id]
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


def _positions(values: pd.Series, table: dict[str, int], message: str) -> NDArray[np.int64]:
    positions = values.map(table)
    unknown = positions.isna()
    if unknown.any():
        raise DataError(message.format(values[unknown].iloc[0]))
    return np.asarray(positions, dtype=np.int64)


def _item_positions(frame: pd.DataFrame, catalogue: Catalogue, name: str) -> NDArray[np.int64]:
    table = {item_id: index for index, item_id in enumerate(catalogue.item_ids)}
    return _positions(
        frame["item"].astype(str),
        table,
        f"{name}: item {{!r}} is not in the catalogue; add it to the items file",
    )


def _times(frame: pd.DataFrame, name: str) -> NDArray[np.generic]:
    times = frame["timestamp"].to_numpy()
    # pandas gives an object column for an empty frame.
    if len(times) == 0:
        return np.empty(0, dtype=np.int64)
    if times.dtype.kind not in "iuf" or not np.isfinite(times).all():
        raise DataError(f"{name}: timestamps must be finite numbers; see docs/data.md")
    return times
