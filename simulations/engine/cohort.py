"""The cohort engine: many clients trained as one batch. Needs torch, not Flower.

Windows are packed into one row of tokens that the frozen weights, shared by all clients, multiply
once (`simulations.engine.packed`). The slow and obvious way stays as the oracle (`engine.batching
= padded`): `torch.func.vmap` over the client's own `local_update`. A micro-batch bounds memory,
and the clipped updates are summed as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.training.gradients import PerExample, check_gradients, stacked_gradients
from client.training.personal import PersonalTensors
from client.training.train import descend, learns, local_update, token_losses
from client.training.weights import weights_of
from shared.aggregation import rule_of
from shared.aggregation.travel import narrowed_update, whole
from shared.config import EngineConfig, ExperimentConfig
from shared.data.population import Population, history_of
from shared.errors import ConfigError, ProtocolError
from shared.model.adapter import Part, current
from shared.model.recommender import Recommender
from shared.privacy.contribution.bound import bounded, metrics_update
from shared.privacy.contribution.histogram import histogram_schema, user_histogram
from shared.privacy.contribution.moments import Basis, moments_schema, user_moments
from shared.privacy.contribution.units import by_example, sums_in_ring, update_clip
from shared.request import Answer, Ranks, Request
from shared.update import Update, summed
from simulations.engine.batching import Batch, Person, ahead, batches, together
from simulations.engine.packed import PackedGradients, why_not_packed
from simulations.engine.placement import capacity
from simulations.engine.ranking import Ranker

if TYPE_CHECKING:
    from client.training.shares import SummedMessages
    from simulations.engine.examples import ExampleCohort

Indices = npt.NDArray[np.int64]

_GRADIENTS = 5  # copies of a client's gradient under way: itself, moved weights, clipped ones, ...


class CohortEngine(Ranker):
    """Trains and evaluates any users of a population with one recommender.

    Parameters
    ----------
    population : Population
    recommender : Recommender
        On the device that computes.
    config : EngineConfig
        Changes speed and memory only.
    """

    def __init__(
        self, population: Population, recommender: Recommender, config: EngineConfig
    ) -> None:
        super().__init__(population, recommender)
        self._config = config

    def answer(
        self, request: Request, users: Sequence[int], state: Path | None = None
    ) -> Iterator[tuple[list[int], Answer]]:
        """What the devices of a cohort answer, as it becomes known.

        Parameters
        ----------
        request : Request
            Where it says `merge`, sums over several users are given: of a micro-batch, of all.
        users : sequence of int
            Keys of people, each once; see `shared.data.population`.
        state : Path, optional
            Folder of what devices keep; needed where they add noise or keep tensors.

        Yields
        ------
        members : list of int
            Whose it is, by key: those whose own budgets cover it.
        answer : Answer

        Raises
        ------
        ProtocolError
            If nobody can ask for it, or the request is about another adapter.
        """
        if request.release == "update":
            yield from self._updates(request, users, state)
            return
        answers: dict[str, Callable[..., tuple[list[int], Answer]]] = {
            "histogram": self._histogram,
            "moments": self._moments,
            "metrics": self._metrics,
            "ranks": self._ranks,
        }
        if request.release not in answers:
            raise ProtocolError(f"release {request.release!r}: no device answers that")
        for some in [list(users)] if request.merge else [[user] for user in users]:
            members, answer = answers[request.release](request, some, state)
            if members:
                yield members, answer

    def _updates(
        self, request: Request, users: Sequence[int], state: Path | None
    ) -> Iterator[tuple[list[int], Update]]:
        rule = rule_of(request.config)
        trained = self.schema.subset(rule.trained(self.schema.names, request.round_number))
        for members, full in self._trained(request, users, state, trained.digest):
            yield members, narrowed_update(rule, trained, request.arrays, full)

    def _trained(
        self, request: Request, users: Sequence[int], state: Path | None, digest: str
    ) -> Iterator[tuple[list[int], Update]]:
        """Local training of a cohort, bounded: one update a user or, merged, a micro-batch."""
        if request.merge and self._one_gradient(request.config):
            yield from self._train_together(request, users)
            return
        for members, free in self.deltas(request, users, state):
            deltas, bits = bounded(free, request.config, request.clip)
            vectors, bits = deltas.cpu().numpy(), bits.cpu()
            if sums_in_ring(request.config, simulated=True):
                shares, said = self._shares(request), (vectors, bits.tolist())
                own = shares.updates(members, said, request.round_number, digest, request.clip)
                yield from [summed(own)] if request.merge else own
                continue
            norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
            if request.merge:
                total, count = deltas.sum(0).cpu().numpy(), float(len(members))
                yield (
                    members,
                    Update(total, count, float(norms.max()), digest, bits=float(bits.sum())),
                )
                continue
            for member, vector, norm, bit in zip(members, vectors, norms, bits, strict=True):
                yield [member], Update(vector, 1.0, float(norm), digest, bits=float(bit))

    def _one_gradient(self, config: ExperimentConfig) -> bool:
        """Whether the sum of deltas is one gradient: one step from one start, no clip."""
        own = rule_of(config).personal(self.schema.names)
        one_step = config.train.local_steps == 1 and not own
        private = np.isfinite(config.privacy.epsilon)
        alone = sums_in_ring(config, simulated=True)  # then everyone's own is asked for
        return one_step and not private and not alone and update_clip(config) is None

    def _train_together(
        self, request: Request, users: Sequence[int]
    ) -> Iterator[tuple[list[int], Update]]:
        """One step and no clip: the sum of deltas is one gradient, of the sum of mean losses.

        No client's own delta is ever formed, so none may be asked for: not under privacy.
        """
        config, part = request.config, self.part(request)
        rate, decay = config.train.local_lr, config.train.weight_decay
        for batch in self._batches(users, part, request.round_number, config):
            members, inputs, targets = self._here(batch)
            gradient = self._of_all(part, inputs[:, 0], targets[:, 0])
            delta = -rate * (gradient + learns(targets).sum() * decay * part.start)
            vector = delta.cpu().numpy()
            norm = float(np.linalg.norm(vector.astype(np.float64)))
            yield members, Update(vector, float(len(members)), norm, part.schema.digest)

    def part(self, request: Request) -> Part:
        """What the rule of the settings trains on devices in a round, and the rest."""
        names = rule_of(request.config).local(self.schema.names, request.round_number)
        adapter = self.received(request).to(self.device)
        weights = weights_of(request.config, self.schema.unflatten(adapter))
        return replace(self.schema.part(adapter, names), weights=weights)

    def alone(self, config: ExperimentConfig) -> Part:
        """The initial adapter, and what training without a federation changes of it."""
        initial = current(self.recommender, self.schema)
        return self.schema.part(initial, rule_of(config).moving(self.schema.names))

    def received(self, request: Request) -> Tensor:
        """The global adapter, float32 [dim], of what travelled to a device."""
        own = current(self.recommender, self.schema)
        return whole(rule_of(request.config), self.schema, request.arrays, own)

    def _of_all(self, part: Part, inputs: Tensor, targets: Tensor) -> Tensor:
        """Gradient [dim] of the sum of mean losses of [members, windows, length]."""
        if packed := self._packed(part):
            return packed.together(part.start, inputs, targets)
        theta = part.start.clone().requires_grad_(True)
        tensors = {**part.frozen, **part.schema.unflatten(theta)}
        losses = token_losses(
            self.recommender, tensors, inputs.flatten(0, 1), targets.flatten(0, 1)
        )
        if part.weights is not None:
            total = (losses.view(targets.shape) * part.weights.shares(targets, (1, 2))).sum()
        else:
            counted = (targets >= 0).sum((1, 2)).clamp(min=1)  # [members]
            total = (losses.view(targets.shape).sum((1, 2)) / counted).sum()
        (gradient,) = torch.autograd.grad(total, theta)
        return gradient

    def deltas(
        self,
        request: Request,
        users: Sequence[int],
        state: Path | None = None,
        part: Part | None = None,
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Deltas [members, dim] of what is trained, one micro-batch at a time.

        That is what the rule of the settings trains in this round, unless a `part` is given. They
        are before the clip of a user's update, if there is one.
        """
        config, number = request.config, request.round_number
        personal = None if part else self.personal(config, number, state)
        part = part or self.part(request)
        if by_example(config):
            people = ahead(self._people(users, part, config))
            gradients = self._per_example(part)
            yield from self._examples.deltas(gradients, people, part.start, request, state)
        else:
            yield from self._whole(users, part, number, config, personal)

    def _whole(
        self,
        users: Sequence[int],
        part: Part,
        round_number: int,
        config: ExperimentConfig,
        personal: PersonalTensors | None,
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Deltas [members, dim] of local training without a clip inside."""
        step = self._trainer(part, config, personal)
        for batch in self._batches(users, part, round_number, config):
            members, inputs, targets = self._here(batch)
            mine = learns(targets)[:, None]
            if personal is None:
                yield members, step(part.start, inputs, targets) * mine
                continue
            starts = personal.starts(part.start, members)
            yield members, personal.keep(members, starts, step(starts, inputs, targets) * mine)

    def _packed(self, part: Part) -> PackedGradients | None:
        """The fast way to gradients; None where the settings or the backbone do not allow it."""
        if self.batching == "padded":
            return None
        return PackedGradients(self.recommender, part.schema, part.frozen, part.weights)

    @cached_property
    def batching(self) -> str:
        """How windows are laid out: `packed` or `padded`."""
        wanted = self._config.batching
        if wanted == "padded":
            return wanted
        why = why_not_packed(self.recommender)
        if why and wanted == "packed":
            raise ConfigError(
                f"engine.batching = packed: this backbone cannot ({why}); give auto or padded"
            )
        return "padded" if why else "packed"

    @cached_property
    def _examples(self) -> ExampleCohort:
        from simulations.engine.examples import ExampleCohort  # plans and accountants enter here

        schema = self.schema.trainable
        everything = self.schema.part(current(self.recommender, self.schema), schema.names)
        gradients = self._per_example(everything)
        check_gradients(gradients, self.recommender, schema, length=6, clients=2)
        return ExampleCohort(self.population)

    def _shares(self, request: Request) -> SummedMessages:
        from client.training.shares import SummedMessages  # plans and accountants enter here

        return SummedMessages(request.config, request.users, simulated=True)

    def _per_example(self, part: Part) -> PerExample:
        packed = self._packed(part)
        if packed is not None:
            return packed.by_window
        return stacked_gradients(self.recommender, part.schema, part.frozen, part.weights)

    def _trainer(
        self, part: Part, config: ExperimentConfig, personal: PersonalTensors | None
    ) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Starts, inputs and targets [members, steps, windows, length] -> deltas [members, dim].

        The start is one [dim] for all or, with personal tensors, everyone's own [members, dim].
        """
        rate = personal.rates(part.start) if personal else config.train.local_lr
        decay = config.train.weight_decay
        packed = self._packed(part)
        if packed is None:
            return self._one_by_one(part, rate, decay, apart=personal is not None)

        def step(start: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
            def gradient(theta: Tensor, step: int) -> Tensor:
                return packed.by_client(theta, inputs[:, step], targets[:, step])

            spread = start.expand(len(inputs), -1)
            return descend(spread, inputs.shape[1], gradient, rate, decay) - start

        return step

    def _one_by_one(
        self, part: Part, rate: float | Tensor, decay: float, *, apart: bool
    ) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """The oracle: the very function that a device runs, mapped over clients."""

        def one(start: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
            settings = (start, inputs, targets, rate, decay, part.frozen, part.weights)
            return local_update(self.recommender, part.schema, *settings)[0]

        mapped: Callable[[Tensor, Tensor, Tensor], Tensor] = torch.func.vmap(
            one, in_dims=(0 if apart else None, 0, 0)
        )
        return mapped

    def _people(
        self, users: Sequence[int], part: Part, config: ExperimentConfig
    ) -> Iterator[list[Person]]:
        """Users by those that are trained at once."""
        windows = config.train.max_windows if by_example(config) else 1
        own = _GRADIENTS * 4 * part.schema.dim * windows  # bytes of a client's own gradients
        length, padded = config.model.max_length, self.batching == "padded"
        room = capacity(self.recommender, self._config, length, own, padded=padded)
        return together(self.population, users, config, room)

    def _batches(
        self, users: Sequence[int], part: Part, round_number: int, config: ExperimentConfig
    ) -> Iterator[Batch]:
        return ahead(batches(self._people(users, part, config), config, round_number))

    def _here(self, batch: Batch) -> Batch:
        """A batch on the device that computes."""
        return Batch(batch.members, batch.inputs.to(self.device), batch.targets.to(self.device))

    def _histogram(
        self, request: Request, users: Sequence[int], state: Path | None
    ) -> tuple[list[int], Update]:
        """Sum of the popularity histograms of those users whose own budgets cover it."""
        config, items = request.config, len(self.population.catalogue)
        histories = ((user, history_of(self.population, user)) for user in users)
        alone = ((user, user_histogram(history, items)) for user, history in histories)
        if sums_in_ring(config, simulated=True):
            own = self._shares(request)
            return summed(([user], own.histogram(mine, user)) for user, mine in alone)
        shares = self._examples.histograms(users, request, state) if by_example(config) else alone
        return _sum_of(shares, items, histogram_schema(items))

    def _moments(
        self, request: Request, users: Sequence[int], state: Path | None
    ) -> tuple[list[int], Update]:
        """Sum of which items those users have together."""
        basis = Basis.of(request.arrays)
        histories = ((user, history_of(self.population, user)) for user in users)
        shares = ((user, user_moments(history, basis)) for user, history in histories)
        if sums_in_ring(request.config, simulated=True):
            own = self._shares(request)
            return summed(([user], own.moments(mine, user)) for user, mine in shares)
        return _sum_of(shares, basis.dim, moments_schema(basis.dim))

    def _ranks(
        self, request: Request, users: Sequence[int], state: Path | None
    ) -> tuple[list[int], Ranks]:
        """Ranks of the held-out items, under everyone's own tensors where the rule keeps such."""
        personal = self.personal(request.config, request.round_number, state) if state else None
        adapter = self.received(request)
        found = self.evaluate(users, adapter, request.phase, request.config, personal)
        return list(users), Ranks(*found)

    def _metrics(
        self, request: Request, users: Sequence[int], state: Path | None
    ) -> tuple[list[int], Update]:
        """Sum of what users contribute to private metrics."""
        about, config = replace(request, phase="validation"), request.config
        if sums_in_ring(config, simulated=True):
            own, number = self._shares(request), request.round_number
            of_each = ((user, self._ranks(about, [user], state)[1].sampled) for user in users)
            alone = ((user, metrics_update(ranks, 1, config).vector) for user, ranks in of_each)
            return summed(([user], own.metrics(mine, user, number)) for user, mine in alone)
        members, ranks = self._ranks(about, users, state)
        return members, metrics_update(ranks.sampled, len(members), config)


def _sum_of(
    shares: Iterable[tuple[int, npt.NDArray[np.float32]]], dim: int, schema: str
) -> tuple[list[int], Update]:
    """Whose contributions [dim] these are, and their sum."""
    total, largest, members = np.zeros(dim, dtype=np.float32), 0.0, list[int]()
    for user, mine in shares:
        members.append(user)
        largest = max(largest, float(np.linalg.norm(mine.astype(np.float64))))
        total += mine
    return members, Update(total, float(len(members)), largest, schema)
