"""The device: owns one user's history and the model, and answers the three things it may be asked.

What leaves is an update or a histogram, clipped and noised as the settings' unit and trust ask, or,
in a simulation, the ranks of held-out items ("evaluator only"). Everything is computed by the same
functions that the cohort engine batches.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from client.training.batches import local_batches, user_windows
from client.training.evaluate import target_ranks
from client.training.gradients import PerExample, check_gradients, opacus_gradients
from client.training.personal import PersonalTensors
from client.training.train import local_update
from shared.aggregation import rule_of
from shared.aggregation.travel import narrowed_update, whole
from shared.config import ExperimentConfig
from shared.data.split import Phase, held_out
from shared.data.windows import context_window
from shared.errors import Declined
from shared.model.adapter import AdapterSchema, Part, current
from shared.model.recommender import Recommender
from shared.privacy.contribution.bound import bounded, metrics_update
from shared.privacy.contribution.histogram import histogram_schema, user_histogram
from shared.privacy.contribution.units import (
    by_example,
    devices_share_noise,
)
from shared.update import Arrays, Update

if TYPE_CHECKING:
    from client.device.agreement import Agreement
    from client.training.examples import Client, ExampleTraining
    from client.training.shares import NoisedShares


@lru_cache(maxsize=2)
def _check_opacus(recommender: Recommender) -> None:
    schema = AdapterSchema.of(recommender)
    per_example = opacus_gradients(recommender, schema)
    check_gradients(per_example, recommender, schema, length=6)


def checked_opacus(recommender: Recommender, part: Part) -> PerExample:
    """Opacus's per-example gradients, checked once a model against a plain backward pass."""
    _check_opacus(recommender)
    return opacus_gradients(recommender, part.schema, part.frozen)


class Device:
    """One user's device.

    Parameters
    ----------
    history : int64 [n]
        The user's items, oldest first.
    user : int
        Index of the user: seeds what is random on a simulated device.
    recommender : Recommender or callable
        Its own adapter is not used: every request brings the global one. A callable that returns
        one is called after the agreement was asked.
    ledger : Path, optional
        Where the device records what it spends; needed where it adds noise.
    agreement : Agreement, optional
        Asked before anything is computed. A real device has one; for simulated people the
        simulation checks each round's policy once.
    personal : Path, optional
        Where the device keeps what is its own; needed under a rule that keeps tensors on devices.
    simulated : bool
        Whether noise is seeded; see `client.training.examples.ExampleTraining`.
    """

    def __init__(
        self,
        history: npt.NDArray[np.int64],
        user: int,
        recommender: Recommender | Callable[[], Recommender],
        ledger: Path | None = None,
        *,
        agreement: Agreement | None = None,
        personal: Path | None = None,
        simulated: bool = False,
    ) -> None:
        self.history = history
        self.user = user
        self._model = recommender
        self._ledger = ledger
        self._agreement = agreement
        self._personal = personal
        self._simulated = simulated

    @cached_property
    def recommender(self) -> Recommender:
        """The model."""
        return self._model if isinstance(self._model, Recommender) else self._model()

    @cached_property
    def schema(self) -> AdapterSchema:
        """Of the model's adapter."""
        return AdapterSchema.of(self.recommender)

    def train(
        self,
        arrays: Arrays,
        round_number: int,
        users: int,
        config: ExperimentConfig,
        policy: str = "",
        adapted: float = 0.0,
    ) -> Update:
        """One round of local training: the delta of the adapter, clipped and noised as agreed.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The global adapter, as far as it travels.
        round_number : int
        users : int
            Size of the population: public.
        config : ExperimentConfig
        policy : str
            The signed policy that came with the request.
        adapted : float
            The round's clipping norm where it adapts.

        Raises
        ------
        Declined
            If what was agreed, the owner's caps or the device's own budget do not cover the round.
        ProtocolError
            If the clipping norm or the adapter is none that was agreed.
        """
        with self._admitted("update", round_number, users, config, policy):
            return self._trained(arrays, round_number, users, config, adapted)

    def _trained(
        self,
        arrays: Arrays,
        round_number: int,
        users: int,
        config: ExperimentConfig,
        adapted: float,
    ) -> Update:
        names = rule_of(config).local(self.schema.names, round_number)
        part = self.schema.part(self._adapter(arrays, config), names)
        if by_example(config):
            delta = self._example_delta(part, round_number, users, config)
        else:
            delta = self._user_delta(part, round_number, config)
        trained = self.schema.subset(rule_of(config).trained(self.schema.names, round_number))
        delta, bits = bounded(delta, config, adapted)
        vector = delta.cpu().numpy()
        if devices_share_noise(config):
            shares = self._shares(users, config)
            return shares.update(vector, self.user, round_number, trained.digest)
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        update = Update(vector, 1.0, norm, trained.digest, bits=float(bits))
        return narrowed_update(rule_of(config), trained, arrays, update)

    def _user_delta(self, part: Part, round_number: int, config: ExperimentConfig) -> torch.Tensor:
        inputs, targets = local_batches(
            user_windows(self.history, config), config, round_number, self.user
        )
        keeper = PersonalTensors.of(config, self.schema, round_number, self._personal)
        start = keeper.starts(part.start, [self.user])[0] if keeper else part.start
        delta, _ = local_update(
            self.recommender,
            part.schema,
            start,
            torch.from_numpy(inputs).to(start.device),
            torch.from_numpy(targets).to(start.device),
            keeper.rates(start) if keeper else config.train.local_lr,
            config.train.weight_decay,
            part.frozen,
        )
        return keeper.keep([self.user], start[None], delta[None])[0] if keeper else delta

    def _example_delta(
        self, part: Part, round_number: int, users: int, config: ExperimentConfig
    ) -> torch.Tensor:
        training = self._example_training(users, config)
        members, deltas = training.deltas(
            checked_opacus(self.recommender, part), part.start, [self._client()], round_number
        )
        if not members:
            raise Declined(f"declined round {round_number}: the device's own budget is spent")
        return deltas[0]

    def _admitted(
        self, release: str, round_number: int, users: int, config: ExperimentConfig, policy: str
    ) -> AbstractContextManager[None]:
        """Around everything that is computed; the model itself is built in between."""
        if devices_share_noise(config) and not self._simulated:
            # Alone, a message holds a small part of the noise that its sum is promised.
            raise Declined(
                f"declined round {round_number}: privacy.trust = distributed needs secure "
                "aggregation, which real devices of this version do not have; use central"
            )
        if self._agreement is None:
            return nullcontext()
        from client.device.agreement import Ask
        from shared.config import settings_hash

        ask = Ask(release, round_number, users, settings_hash(config), "", policy)
        self._agreement.foresee(ask, config)
        return self._agreement.admitted(replace(ask, schema=self.schema.digest), config)

    def _example_training(self, users: int, config: ExperimentConfig) -> ExampleTraining:
        from client.training.examples import ExampleTraining  # plans and accountants enter here

        return ExampleTraining(config, users, simulated=self._simulated)

    def _client(self) -> Client:
        from client.training.examples import Client

        return Client(self.user, self.history, self._ledger)

    @torch.no_grad()
    def evaluate(
        self,
        arrays: Arrays,
        phase: Phase,
        config: ExperimentConfig,
        round_number: int = 0,
        users: int = 1,
        policy: str = "",
    ) -> tuple[int, int] | None:
        """Sampled and full rank of the held-out item; None for a user too short to be evaluated.

        With the device's own tensors as that round left them, where the rule has such.
        """
        with self._admitted("ranks", round_number, users, config, policy):
            return self._ranks(arrays, phase, config, round_number)

    @torch.no_grad()
    def _ranks(
        self, arrays: Arrays, phase: Phase, config: ExperimentConfig, round_number: int
    ) -> tuple[int, int] | None:
        case = held_out(self.history, phase)
        if case is None:
            return None
        adapter = self._adapter(arrays, config)
        if keeper := PersonalTensors.of(config, self.schema, round_number, self._personal):
            adapter = keeper.adapters(adapter, [self.user])[0]
        scores = self.scores(adapter, case.context, config.model.max_length)
        return target_ranks(scores, self.history, case, config.data.negatives, self.user)

    @torch.no_grad()
    def scores(
        self, adapter: torch.Tensor, context: npt.NDArray[np.int64], max_length: int
    ) -> npt.NDArray[np.float32]:
        """Scores [items] of the next item after a context."""
        window = torch.from_numpy(context_window(context, max_length))[None].to(adapter.device)
        tensors = self.schema.unflatten(adapter)
        result = torch.func.functional_call(self.recommender, tensors, (window,))
        array: npt.NDArray[np.float32] = result[0, -1].float().cpu().numpy()
        return array

    def histogram(self, users: int, config: ExperimentConfig, policy: str = "") -> Update:
        """The user's share of the popularity histogram, clipped and noised as agreed."""
        with self._admitted("histogram", 0, users, config, policy):
            return self._counted(users, config)

    def _counted(self, users: int, config: ExperimentConfig) -> Update:
        items = len(self.recommender.items)
        if by_example(config):
            vector = self._example_training(users, config).histogram(self._client(), items)
        else:
            vector = user_histogram(self.history, items)
        if devices_share_noise(config):
            return self._shares(users, config).histogram(vector, self.user)
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        return Update(vector, 1.0, norm, histogram_schema(items))

    def metrics(
        self,
        arrays: Arrays,
        round_number: int,
        users: int,
        config: ExperimentConfig,
        policy: str = "",
    ) -> Update:
        """The user's share of private metrics: of the held-out validation item, never the test's.

        Raises
        ------
        Declined
            As for `train`.
        ProtocolError
            Where the settings promise no noise for it.
        """
        with self._admitted("metrics", round_number, users, config, policy):
            ranks = self._ranks(arrays, "validation", config, round_number)
            return metrics_update([ranks[0]] if ranks else [], 1, config)

    def _shares(self, users: int, config: ExperimentConfig) -> NoisedShares:
        from client.training.shares import NoisedShares  # plans and accountants enter here

        return NoisedShares(config, users, simulated=True)

    def _adapter(self, arrays: Arrays, config: ExperimentConfig) -> torch.Tensor:
        own = current(self.recommender, self.schema)
        adapter = whole(rule_of(config), self.schema, arrays, own)
        return adapter.to(self.recommender.items.device)
