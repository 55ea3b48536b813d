"""Rounds in which a device trains more than leaves it: own values in, own values kept.

theta = (shared, own)      shared from the server, own from the device's store
delta = local training of both together
the shared part of delta leaves; own + its part of delta is kept for the next round
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from client.training.personal import PersonalStore
from shared.aggregation import rule_of
from shared.config import ExperimentConfig, settings_hash
from shared.errors import ConfigError
from shared.model.adapter import AdapterSchema


class Keeper:
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
        Where the values last; see `client.training.personal`.
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
    ) -> Keeper | None:
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
                f"state: missing; under federation.aggregation = {config.federation.aggregation} a "
                'device keeps what is its own, e.g. node configuration state="/var/lib/starling"'
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
