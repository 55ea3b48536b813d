"""The device: owns one user's history and the model, and answers what it may be asked.

What leaves is an update, a histogram, moments or private metrics, bounded and noised as the
settings' unit and trust ask, or, for an evaluator only, the ranks of held-out items. Everything is
computed by the same functions that the cohort engine batches.
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
from client.training.train import learns, local_update
from client.training.weights import weights_of
from shared.aggregation import rule_of
from shared.aggregation.travel import narrowed_update, whole
from shared.data.split import held_out
from shared.data.windows import context_window
from shared.errors import Declined, ProtocolError
from shared.model.adapter import AdapterSchema, Part, current
from shared.model.recommender import Recommender
from shared.privacy.contribution.bound import bounded, metrics_update
from shared.privacy.contribution.histogram import histogram_schema, user_histogram
from shared.privacy.contribution.moments import Basis, moments_schema, user_moments
from shared.privacy.contribution.units import (
    by_example,
    moments_dim,
    sums_in_ring,
    sums_securely,
)
from shared.request import SUMMED, Answer, Ranks, Request
from shared.update import Update

if TYPE_CHECKING:
    from client.device.agreement import Agreement
    from client.secagg.masking import Masking
    from client.training.examples import Client, ExampleTraining
    from client.training.shares import SummedMessages


@lru_cache(maxsize=2)
def _check_opacus(recommender: Recommender) -> None:
    schema = AdapterSchema.of(recommender).trainable
    per_example = opacus_gradients(recommender, schema)
    check_gradients(per_example, recommender, schema, length=6)


def checked_opacus(recommender: Recommender, part: Part) -> PerExample:
    """Opacus's per-example gradients, checked once a model against a plain backward pass."""
    _check_opacus(recommender)
    return opacus_gradients(recommender, part.schema, part.frozen, part.weights)


class Device:
    """One user's device.

    Parameters
    ----------
    history : int64 [n]
        The user's items, oldest first.
    key : int
        The person's, see `shared.data.population`: with the settings it seeds what a device draws
        and need not keep secret.
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
    masking : Masking, optional
        Its part in secure sums; needed where answers are summed securely.
    simulated : bool
        Whether noise is seeded; see `client.training.examples.ExampleTraining`.
    """

    def __init__(
        self,
        history: npt.NDArray[np.int64],
        key: int,
        recommender: Recommender | Callable[[], Recommender],
        ledger: Path | None = None,
        *,
        agreement: Agreement | None = None,
        personal: Path | None = None,
        masking: Masking | None = None,
        simulated: bool = False,
    ) -> None:
        self.history = history
        self.key = key
        self._model = recommender
        self._ledger = ledger
        self._agreement = agreement
        self._personal = personal
        self._masking = masking
        self._simulated = simulated

    @cached_property
    def recommender(self) -> Recommender:
        """The model."""
        return self._model if isinstance(self._model, Recommender) else self._model()

    @cached_property
    def schema(self) -> AdapterSchema:
        """Of the model's adapter."""
        return AdapterSchema.of(self.recommender)

    def answer(self, request: Request) -> Answer:
        """What is asked for, as far as it was agreed on.

        Raises
        ------
        Declined
            If what was agreed, the owner's caps or the device's own budget do not cover it.
        ProtocolError
            If nobody can ask for it, the settings promise no noise for it, or the clipping norm or
            the adapter is none that was agreed.
        """
        answers: dict[str, Callable[[Request], Answer]] = {
            "update": self._trained,
            "histogram": self._counted,
            "moments": self._together,
            "metrics": self._measured,
            "ranks": self._ranked,
        }
        if request.release not in answers:
            raise ProtocolError(f"release {request.release!r}: expected one of {list(answers)}")
        securely = self._securely(request)
        if securely and not request.sealed:
            raise Declined(f"{request.release}: asked for in clear, not for a secure sum", "policy")
        if securely:
            self._sums.examine(request)  # what would be refused afterwards costs nothing
        with self._admitted(request):
            answer = answers[request.release](request)
        return self._masked(request, answer) if securely else answer

    def _securely(self, request: Request) -> bool:
        """Whether what is asked for goes into a secure sum."""
        securely = sums_securely(request.config, simulated=self._simulated)
        return securely and request.release in SUMMED

    def _in_ring(self, request: Request) -> bool:
        return sums_in_ring(request.config, simulated=self._simulated)

    def _masked(self, request: Request, answer: Answer) -> Update:
        if not isinstance(answer, Update):
            raise ProtocolError(f"{request.release}: not what a secure sum is of")
        return self._sums.masked(request, answer)

    @property
    def _sums(self) -> Masking:
        if self._masking is None:
            raise ProtocolError("this device takes part in no secure sum")
        return self._masking

    def _admitted(self, request: Request) -> AbstractContextManager[None]:
        """Around everything that is computed; the model itself is built in between."""
        if self._agreement is None:
            return nullcontext()
        self._agreement.foresee(request)
        return self._agreement.admitted(request, self.schema.digest)

    def _trained(self, request: Request) -> Update:
        """One round of local training: the delta of the adapter, clipped and noised as agreed."""
        config, number = request.config, request.round_number
        rule = rule_of(config)
        adapter = self._adapter(request)
        part = self.schema.part(adapter, rule.local(self.schema.names, number))
        part = replace(part, weights=weights_of(config, self.schema.unflatten(adapter)))
        learn = self._example_delta if by_example(config) else self._user_delta
        trained = self.schema.subset(rule.trained(self.schema.names, number))
        delta, bits = bounded(learn(part, request), config, request.clip)
        vector = delta.cpu().numpy()
        if self._in_ring(request):
            own = self._shares(request)
            return own.update(vector, self.key, number, trained.digest, float(bits), request.clip)
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        update = Update(vector, 1.0, norm, trained.digest, bits=float(bits))
        return narrowed_update(rule, trained, request.arrays, update)

    def _user_delta(self, part: Part, request: Request) -> torch.Tensor:
        config, number = request.config, request.round_number
        windows = user_windows(self.history, config)
        inputs, targets = local_batches(windows, config, number, self.key)
        personal = PersonalTensors.of(config, self.schema, number, self._personal)
        start = personal.starts(part.start, [self.key])[0] if personal else part.start
        wanted = torch.from_numpy(targets).to(start.device)
        delta, _ = local_update(
            self.recommender,
            part.schema,
            start,
            torch.from_numpy(inputs).to(start.device),
            wanted,
            personal.rates(start) if personal else config.train.local_lr,
            config.train.weight_decay,
            part.frozen,
            part.weights,
        )
        delta = delta * learns(wanted)
        return personal.keep([self.key], start[None], delta[None])[0] if personal else delta

    def _example_delta(self, part: Part, request: Request) -> torch.Tensor:
        number = request.round_number
        members, deltas = self._example_training(request).deltas(
            checked_opacus(self.recommender, part), part.start, [self._client(request)], number
        )
        if not members:
            raise Declined(f"declined round {number}: the device's own budget is spent")
        return deltas[0]

    def _counted(self, request: Request) -> Update:
        """The user's share of the popularity histogram, clipped and noised as agreed."""
        items = len(self.recommender.items)
        if by_example(request.config):
            vector = self._example_training(request).histogram(self._client(request), items)
        else:
            vector = user_histogram(self.history, items)
        if self._in_ring(request):
            return self._shares(request).histogram(vector, self.key)
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        return Update(vector, 1.0, norm, histogram_schema(items))

    def _together(self, request: Request) -> Update:
        """The user's share of which items people have together, clipped and noised as agreed."""
        basis = Basis.of(request.arrays)
        _, leading, most = moments_dim(request.config, len(self.recommender.items))
        if basis.dim > most or basis.exact is (leading > 0):
            raise ProtocolError(
                f"moments: asked for {basis.dim} numbers, the settings give at most {most} "
                f"{'of released directions' if leading else 'of pairs of items'}"
            )
        vector = user_moments(self.history, basis)
        if self._in_ring(request):
            return self._shares(request).moments(vector, self.key)
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        return Update(vector, 1.0, norm, moments_schema(basis.dim))

    def _measured(self, request: Request) -> Update:
        """The user's share of private metrics: of the validation item, never the test's."""
        ranks = self._ranked(replace(request, phase="validation"))
        update = metrics_update(ranks.sampled, 1, request.config)
        if self._in_ring(request):
            return self._shares(request).metrics(update.vector, self.key, request.round_number)
        return update

    @torch.no_grad()
    def _ranked(self, request: Request) -> Ranks:
        """Ranks of the held-out item; none for a user who is not evaluated.

        With the device's own tensors as that round left them, where the rule has such.
        """
        config = request.config
        case = held_out(self.history, request.phase, len(self.recommender.items))
        if case is None:
            return Ranks([], [])
        adapter = self._adapter(request)
        if personal := PersonalTensors.of(
            config, self.schema, request.round_number, self._personal
        ):
            adapter = personal.adapters(adapter, [self.key])[0]
        scores = self.scores(adapter, case.context, config.model.max_length)
        found = target_ranks(scores, self.history, case, config.data.negatives, self.key)
        return Ranks([found[0]], [found[1]])

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

    def _example_training(self, request: Request) -> ExampleTraining:
        from client.training.examples import ExampleTraining  # plans and accountants enter here

        return ExampleTraining(request.config, request.users, simulated=self._simulated)

    def _client(self, request: Request) -> Client:
        from client.training.examples import Client
        from shared.privacy.ledger.budget import record_of

        ledger = self._ledger
        if ledger is not None and self._agreement is not None:  # one a run, its caps count all
            ledger = record_of(ledger, request.settings)
        return Client(self.key, self.history, ledger)

    def _shares(self, request: Request) -> SummedMessages:
        from client.training.shares import SummedMessages  # plans and accountants enter here

        return SummedMessages(request.config, request.users, simulated=self._simulated)

    def _adapter(self, request: Request) -> torch.Tensor:
        """The global adapter [dim] of what travelled."""
        own = current(self.recommender, self.schema)
        adapter = whole(rule_of(request.config), self.schema, request.arrays, own)
        return adapter.to(self.recommender.items.device)
