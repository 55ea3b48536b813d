"""Where held-out items rank: one adapter for many users, or everyone's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.training.evaluate import held_out, target_ranks
from client.training.keeper import Keeper
from shared.config import ExperimentConfig
from shared.data.population import Population
from shared.data.split import Phase
from shared.model.adapter import AdapterSchema
from shared.model.recommender import Recommender
from shared.run_files import run_files
from simulations.engine.packed import last_scores
from simulations.engine.scoring import LastScores, padded

Indices = npt.NDArray[np.int64]

_APART = 64  # users ranked at once, each with an adapter of their own


class Ranker:
    """Ranks held-out items of any users of a population with one recommender.

    Parameters
    ----------
    population : Population
    recommender : Recommender
        On the device that computes.

    Attributes
    ----------
    schema : AdapterSchema
    device : torch.device
    """

    def __init__(self, population: Population, recommender: Recommender) -> None:
        self.population = population
        self.recommender = recommender
        self.schema = AdapterSchema.of(recommender)
        self.device = recommender.items.device

    @property
    def batching(self) -> str:
        """How windows are laid out: `packed` or `padded`."""
        return "padded"

    @torch.no_grad()
    def evaluate(
        self,
        users: Sequence[int],
        adapter: Tensor,
        phase: Phase,
        config: ExperimentConfig,
        keeper: Keeper | None = None,
    ) -> tuple[list[int], list[int]]:
        """Sampled and full ranks of the held-out items of all users that have one.

        Under a rule that keeps tensors on devices, with everyone's own as a `keeper` has them;
        without it with the adapter as it stands.
        """
        if keeper:
            return self._evaluate_own(users, adapter.to(self.device), phase, config, keeper)
        tensors = self.schema.unflatten(adapter.to(self.device))

        def score(windows: Tensor, last: Tensor) -> Tensor:
            if self.batching == "packed":
                return last_scores(self.recommender, tensors, windows, last)
            scores: Tensor = torch.func.functional_call(
                LastScores(self.recommender),
                {f"recommender.{name}": tensor for name, tensor in tensors.items()},
                (windows, last),
            )
            return scores

        return self.ranks(users, score, phase, config)

    def _evaluate_own(
        self,
        users: Sequence[int],
        adapter: Tensor,
        phase: Phase,
        config: ExperimentConfig,
        keeper: Keeper,
    ) -> tuple[list[int], list[int]]:
        able = [user for user, _, _ in self._cases(users, phase)]
        sampled: list[int] = []
        full: list[int] = []
        for start in range(0, len(able), _APART):
            some = able[start : start + _APART]
            found = self.evaluate_each(some, keeper.adapters(adapter, some), phase, config)
            sampled += found[0]
            full += found[1]
        return sampled, full

    @torch.no_grad()
    def evaluate_each(
        self, users: Sequence[int], adapters: Tensor, phase: Phase, config: ExperimentConfig
    ) -> tuple[list[int], list[int]]:
        """Ranks of users that each have an adapter of their own.

        Parameters
        ----------
        users : sequence of int, length [n]
            All with at least three interactions.
        adapters : Tensor float32 [n, dim]
        """
        scorer = LastScores(self.recommender)

        def one(adapter: Tensor, window: Tensor, last: Tensor) -> Tensor:
            tensors = self.schema.unflatten(adapter)
            named = {f"recommender.{name}": tensor for name, tensor in tensors.items()}
            scores: Tensor = torch.func.functional_call(scorer, named, (window[None], last[None]))
            return scores[0]

        def score(windows: Tensor, last: Tensor) -> Tensor:
            return torch.func.vmap(one)(adapters, windows, last)

        return self.ranks(users, score, phase, config, batch=len(users))

    def ranks(
        self,
        users: Sequence[int],
        score: Callable[[Tensor, Tensor], Tensor],
        phase: Phase,
        config: ExperimentConfig,
        batch: int = 128,
    ) -> tuple[list[int], list[int]]:
        """Ranks under any scorer of (windows [n, length], last position [n]) -> [n, items]."""
        sampled: list[int] = []
        full: list[int] = []
        for start in range(0, len(users), batch):
            cases = self._cases(users[start : start + batch], phase)
            if not cases:
                continue
            contexts = [case.context for _, _, case in cases]
            windows, last = padded(contexts, config.model.max_length, self.device)
            scores = score(windows, last).float().cpu().numpy()
            for row, (user, history, case) in zip(scores, cases, strict=True):
                ranks = target_ranks(row, history, case, config.data.negatives, user)
                sampled.append(ranks[0])
                full.append(ranks[1])
        return sampled, full

    def _cases(self, users: Sequence[int], phase: Phase) -> list[tuple[int, Indices, Any]]:
        histories = [(user, self.population.history(user)) for user in users]
        cases = [(user, history, held_out(history, phase)) for user, history in histories]
        return [(user, history, case) for user, history, case in cases if case is not None]

    def keeper(
        self, config: ExperimentConfig, round_number: int, state: Path | None
    ) -> Keeper | None:
        """What people have of their own in a round; None where the rule keeps nothing on devices.

        Raises
        ------
        ConfigError
            If it does, and there is no `state`.
        """
        return Keeper.of(config, self.schema, round_number, personal_file(state))


def personal_file(state: Path | None) -> Path | None:
    """Where the virtual devices of a point keep tensors of their own.

    Parameters
    ----------
    state : Path or None
        Folder of the devices' ledgers, `devices/NAME` in the run's own. Nothing but ledgers lies
        there, every one of them a claim; so this is beside it.
    """
    return None if state is None else run_files(state.parents[1], state.name).personal
