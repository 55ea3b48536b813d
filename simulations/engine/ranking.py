"""Where held-out items rank: one adapter for many users, or everyone's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.training.evaluate import target_ranks
from client.training.personal import PersonalTensors
from shared.config import ExperimentConfig
from shared.data.population import Population, history_of
from shared.data.split import Phase, held_out
from shared.data.windows import START, context_window
from shared.model.adapter import AdapterSchema, Tensors
from shared.model.recommender import Recommender
from shared.run_files import run_files
from simulations.engine.packed import last_scores

Indices = npt.NDArray[np.int64]

_APART = 64  # users ranked at once, each with an adapter of their own


class Ranker:
    """Ranks held-out items of any users of a population, named by key, with one recommender.

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
        personal: PersonalTensors | None = None,
    ) -> tuple[list[int], list[int]]:
        """Sampled and full ranks of the held-out items of all users that have one.

        Under a rule that keeps tensors on devices, with everyone's own as `personal` has them;
        without it with the adapter as it stands.
        """
        if personal:
            return self._evaluate_own(users, adapter.to(self.device), phase, config, personal)
        tensors = self.schema.unflatten(adapter.to(self.device))

        def score(windows: Tensor, last: Tensor) -> Tensor:
            if self.batching == "packed":
                return last_scores(self.recommender, tensors, windows, last)
            return self._scores(tensors, windows, last)

        return self.ranks(users, score, phase, config)

    def _scores(self, tensors: Tensors, windows: Tensor, last: Tensor) -> Tensor:
        named = {f"recommender.{name}": tensor for name, tensor in tensors.items()}
        scorer = LastScores(self.recommender)
        scores: Tensor = torch.func.functional_call(scorer, named, (windows, last))
        return scores

    def _evaluate_own(
        self,
        users: Sequence[int],
        adapter: Tensor,
        phase: Phase,
        config: ExperimentConfig,
        personal: PersonalTensors,
    ) -> tuple[list[int], list[int]]:
        able = [user for user, _, _ in self._cases(users, phase)]
        sampled: list[int] = []
        full: list[int] = []
        for start in range(0, len(able), _APART):
            some = able[start : start + _APART]
            found = self.evaluate_each(some, personal.adapters(adapter, some), phase, config)
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
            All of whom are evaluated, see `shared.data.split.is_evaluated`.
        adapters : Tensor float32 [n, dim]
        """

        def one(adapter: Tensor, window: Tensor, last: Tensor) -> Tensor:
            return self._scores(self.schema.unflatten(adapter), window[None], last[None])[0]

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
        histories = [(user, history_of(self.population, user)) for user in users]
        items = len(self.population.catalogue)
        cases = [(user, history, held_out(history, phase, items)) for user, history in histories]
        return [(user, history, case) for user, history, case in cases if case is not None]

    def personal(
        self, config: ExperimentConfig, round_number: int, state: Path | None
    ) -> PersonalTensors | None:
        """What people have of their own in a round; None where the rule keeps nothing on devices.

        Raises
        ------
        ConfigError
            If it does, and there is no `state`.
        """
        return PersonalTensors.of(config, self.schema, round_number, personal_file(state))


def personal_file(state: Path | None) -> Path | None:
    """Where the virtual devices of a point keep tensors of their own.

    Parameters
    ----------
    state : Path or None
        Folder of the devices' ledgers, `devices/NAME` in the run's own. Nothing but ledgers lies
        there, every one of them a claim; so this is beside it.
    """
    return None if state is None else run_files(state.parents[1], state.name).personal


def padded(
    contexts: Sequence[npt.NDArray[np.int64]], max_length: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Windows int64 [n, longest] of the ends of contexts, and their last positions int64 [n]."""
    windows = [context_window(context, max_length) for context in contexts]
    longest = max(len(window) for window in windows)
    table = np.full((len(windows), longest), START, dtype=np.int64)
    for row, window in zip(table, windows, strict=True):
        row[: len(window)] = window
    last = np.array([len(window) - 1 for window in windows])
    return torch.from_numpy(table).to(device), torch.from_numpy(last).to(device)


class LastScores(torch.nn.Module):
    """Scores after the last position only: the catalogue's product for one position a user."""

    def __init__(self, recommender: Recommender) -> None:
        super().__init__()
        self.recommender = recommender

    def forward(self, windows: Tensor, last: Tensor) -> Tensor:
        """Scores [n, items] of windows [n, length] after their last positions [n]."""
        hidden = self.recommender.hidden(windows)  # [n, length, hidden]
        place = last[:, None, None].expand(-1, 1, hidden.shape[-1])
        return self.recommender.score(hidden.gather(1, place)[:, 0])
