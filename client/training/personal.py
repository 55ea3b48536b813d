"""What a device keeps for itself: the values of its personal tensors, by round.

A round trains more than leaves the device: own values in, own values kept.

theta = (shared, own)      shared from the server, own from the device's store
delta = local training of both together
the shared part of delta leaves; own + its part of delta is kept for the next round

A SQLite file holds those of one device, or of all virtual devices of a point in a run's folder,
where rows exist for people who trained and for nobody else. Of each person it keeps what the last
round left and what that round started from: a round that is replayed after a crash starts from what
it started from, and gives the same update.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.aggregation import rule_of
from shared.config import ExperimentConfig, settings_hash
from shared.errors import ConfigError
from shared.files import make_folder
from shared.model.adapter import AdapterSchema

Values = npt.NDArray[np.float32]

_VERSION = 1
_PATIENCE = 600.0  # seconds that a process waits for another's transaction
_TYPE = np.dtype("<f4")
_MANY = 500  # people of one query
_TABLE = """
CREATE TABLE IF NOT EXISTS personal (
    settings TEXT NOT NULL, user INTEGER NOT NULL, round INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (settings, user, round)
)"""
_NEWEST = """
SELECT user, value FROM personal AS one
WHERE settings = ? AND user IN ({people}) AND round = (
    SELECT max(round) FROM personal
    WHERE settings = one.settings AND user = one.user AND round <= ?
)"""
_FORGET = """
DELETE FROM personal WHERE settings = :settings AND user = :user AND (
    round >= :round OR round < (
        SELECT max(round) FROM personal
        WHERE settings = :settings AND user = :user AND round < :round
    )
)"""


class PersonalStore:
    """The personal values of some people under one point's settings.

    Parameters
    ----------
    file : Path
        Made when something is first kept.
    settings : str
        What the values belong to; those of other settings are left alone.
    dim : int
        Numbers of one person.
    """

    def __init__(self, file: Path, settings: str, dim: int) -> None:
        self._file = file
        self._settings = settings
        self._dim = dim

    def latest(self, users: Sequence[int], round_number: int) -> dict[int, Values]:
        """What people had after a round, or after their last one before it.

        Parameters
        ----------
        users : sequence of int
        round_number : int
            Later rounds are as if they had not been.

        Returns
        -------
        dict of int to float32 [dim]
            Nothing for who had not trained yet.

        Raises
        ------
        ConfigError
            If the file was damaged, or is another version's.
        """
        if not self._file.exists():
            return {}
        found: dict[int, Values] = {}
        with self._opened() as database:
            for start in range(0, len(users), _MANY):
                people = [int(user) for user in users[start : start + _MANY]]
                query = _NEWEST.format(people=",".join("?" * len(people)))
                rows = database.execute(query, (self._settings, *people, round_number))
                found |= {user: self._values(value) for user, value in rows}
        return found

    def keep(self, users: Sequence[int], round_number: int, values: Values) -> None:
        """Keep what a round left, and of earlier ones the last: all of them or, crashing, none.

        Parameters
        ----------
        users : sequence of int
        round_number : int
            >= 1.
        values : float32 [users, dim]

        Raises
        ------
        ConfigError
            If the file was damaged, is another version's or cannot be written.
        """
        if values.shape != (len(users), self._dim):
            raise ValueError(f"Expected values of shape {(len(users), self._dim)}")
        key = {"settings": self._settings, "round": round_number}
        rows = [
            key | {"user": int(user), "value": value.astype(_TYPE).tobytes()}
            for user, value in zip(users, values, strict=True)
        ]
        with self._opened() as database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(_FORGET, rows)
            database.executemany(
                "INSERT INTO personal VALUES (:settings, :user, :round, :value)", rows
            )
            database.execute("COMMIT")  # synced to disk; a crash before it leaves the old rows

    def _values(self, value: bytes) -> Values:
        found = np.frombuffer(value, dtype=_TYPE).astype(np.float32)
        if len(found) != self._dim:
            raise ConfigError(
                f"{self._file}: holds {len(found)} personal numbers of someone; expected "
                f"{self._dim}; remove it, and personal training starts anew"
            )
        return found

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            make_folder(self._file.parent)
            database = sqlite3.connect(self._file, timeout=_PATIENCE, isolation_level=None)
            with contextlib.closing(database):
                self._check_version(database)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(
                f"{self._file}: cannot be used ({error}); restore it, or remove it, and personal "
                "training starts anew"
            ) from None

    def _check_version(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise ConfigError(
                f"{self._file}: is of version {version}; expected {_VERSION}; update this software"
            )
        if version == 0:
            database.execute(_TABLE)
            database.execute(f"PRAGMA user_version = {_VERSION}")


class PersonalTensors:
    """The personal side of a round, for any number of people at once.

    Parameters
    ----------
    config : ExperimentConfig
        Of a point whose rule keeps tensors on devices.
    schema : AdapterSchema
        Of the whole adapter.
    round_number : int
        >= 1.
    file : Path
        Where the values last; see `PersonalStore`.
    """

    def __init__(
        self, config: ExperimentConfig, schema: AdapterSchema, round_number: int, file: Path
    ) -> None:
        rule = rule_of(config)
        together = schema.subset(rule.local(schema.names, round_number))
        self._own = schema.subset(rule.personal(schema.names))
        self._own_at = torch.from_numpy(together.places(self._own))
        shared = schema.subset(rule.trained(schema.names, round_number))
        self._shared_at = torch.from_numpy(together.places(shared))
        self._in_adapter = torch.from_numpy(schema.places(self._own))
        self._train = config.train
        self._round = round_number
        self._store = PersonalStore(file, settings_hash(config), self._own.dim)

    @classmethod
    def of(
        cls, config: ExperimentConfig, schema: AdapterSchema, round_number: int, file: Path | None
    ) -> PersonalTensors | None:
        """None where the rule keeps nothing on devices.

        Raises
        ------
        ConfigError
            If it does, and there is no file.
        """
        if not rule_of(config).personal(schema.names):
            return None
        if file is None:
            raise ConfigError(
                f"under federation.aggregation = {config.federation.aggregation} a device keeps "
                "what is its own in a folder, and has none here"
            )
        return cls(config, schema, round_number, file)

    def rates(self, like: Tensor) -> Tensor:
        """Learning rates [dim] of what is trained together."""
        rates = torch.full_like(like, self._train.local_lr)
        rates[self._own_at.to(like.device)] = self._train.personal_lr
        return rates

    def starts(self, start: Tensor, users: Sequence[int]) -> Tensor:
        """Where people start from, [users, dim]: `start` [dim], and each one's own values."""
        starts = start.repeat(len(users), 1)
        self._put_own(starts, self._own_at, users, self._round - 1)
        return starts

    def keep(self, users: Sequence[int], starts: Tensor, deltas: Tensor) -> Tensor:
        """Keep everyone's own part of what they trained; the part [users, shared] that leaves.

        Training that diverged is not kept: who went to infinity starts again from what they had.
        """
        own_at = self._own_at.to(deltas.device)
        values = (starts + deltas)[:, own_at]
        whole = torch.isfinite(values).all(1).tolist()
        chosen = [place for place, finite in enumerate(whole) if finite]
        self._store.keep([users[i] for i in chosen], self._round, values[chosen].cpu().numpy())
        return deltas[:, self._shared_at.to(deltas.device)]

    def adapters(self, adapter: Tensor, users: Sequence[int]) -> Tensor:
        """Everyone's whole adapter [users, dim] after the round: the shared one, and their own."""
        adapters = adapter.repeat(len(users), 1)
        self._put_own(adapters, self._in_adapter, users, self._round)
        return adapters

    def trained(self, users: Sequence[int]) -> int:
        """How many of them have values of their own."""
        return len(self._store.latest(users, self._round))

    def _put_own(self, rows: Tensor, where: Tensor, users: Sequence[int], last: int) -> None:
        found = self._store.latest(users, last)
        for row, user in zip(rows, users, strict=True):
            if user in found:
                row[where.to(rows.device)] = torch.from_numpy(found[user]).to(rows.device)
