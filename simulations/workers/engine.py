"""The cohort engine over several workers: shards of a cohort, their sums streamed back in order.

A shard is a fixed number of clients, whoever trains it and however many workers there are, and
answers are taken in the order of the shards. So one, two or five workers give the same sum to the
last bit; the engine in one process gives it up to rounding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from torch import Tensor

from shared.config import ExperimentConfig
from shared.data.population import Population
from shared.data.split import Phase
from shared.model.adapter import AdapterSchema
from shared.update import Update
from simulations.engine.cohort import CohortEngine
from simulations.workers.actor import Common
from simulations.workers.pool import WorkerPool

_CLIENTS = {"cpu": 16, "mps": 16, "cuda": 256}  # of a shard, unless told otherwise
_RANKED = 128  # users ranked at once by the engine, and so in a shard
_AHEAD = 4  # shards under way per worker: bounds memory


class ShardedEngine:
    """What a grid needs of a `CohortEngine`, computed by workers.

    Parameters
    ----------
    engine : CohortEngine
        Of this process: population and schema.
    pool : WorkerPool
    shard : int
        Clients of a shard; 0 chooses.

    Attributes
    ----------
    population : Population
    schema : AdapterSchema
    """

    def __init__(self, engine: CohortEngine, pool: WorkerPool, shard: int = 0) -> None:
        self.population: Population = engine.population
        self.schema: AdapterSchema = engine.schema
        self.received = engine.received
        self._pool = pool
        self._rank = pool.rank()
        self._clients = shard or _CLIENTS[pool.session.device]

    def train(
        self,
        users: Sequence[int],
        adapter: Tensor,
        round_number: int,
        config: ExperimentConfig,
        *,
        merge: bool,
        state: Path | None = None,
        adapted: float = 0.0,
    ) -> Iterator[tuple[list[int], Update]]:
        """See `CohortEngine.train`."""
        common = _common(
            adapter.cpu().numpy(), config, round_number, merge=merge, state=state, adapted=adapted
        )
        for updates in self._answers("train", common, shards(users, self._clients)):
            yield from updates

    def evaluate(
        self,
        users: Sequence[int],
        adapter: Tensor,
        phase: Phase,
        config: ExperimentConfig,
        *,
        round_number: int = 0,
        state: Path | None = None,
    ) -> tuple[list[int], list[int]]:
        """See `CohortEngine.evaluate`."""
        common = _common(adapter.cpu().numpy(), config, round_number, phase=phase, state=state)
        sampled: list[int] = []
        full: list[int] = []
        pieces = [users[i : i + _RANKED] for i in range(0, len(users), _RANKED)]
        for ranks in self._answers("evaluate", common, pieces):
            sampled += ranks[0]
            full += ranks[1]
        return sampled, full

    def histogram(
        self, users: Sequence[int], config: ExperimentConfig, state: Path | None = None
    ) -> tuple[list[int], Update]:
        """See `CohortEngine.histogram`."""
        common = _common(np.zeros(0, dtype=np.float32), config, state=state)
        members: list[int] = []
        total: Update | None = None
        for mine, update in self._answers("histogram", common, shards(users, _RANKED)):
            members += mine
            total = update if total is None else total + update
        if total is None:  # nobody was asked
            raise ValueError("users: empty; expected at least one")
        return members, total

    def _answers(
        self, method: str, common: Common, pieces: Sequence[Sequence[int]]
    ) -> Iterator[Any]:
        """The answers to all pieces in their order, a few pieces ahead of whoever takes them."""
        told = ray.put(common)
        waiting: deque[Future[Any]] = deque()
        try:
            for piece in pieces:
                waiting.append(self._pool.ask(self._rank, method, told, list(piece)))
                if len(waiting) >= _AHEAD * self._pool.size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for answer in waiting:
                answer.cancel()


def shards(users: Sequence[int], clients: int) -> list[list[int]]:
    """Users cut into pieces of nearly equal size, at most `clients` each, in order."""
    if not users:
        return []
    count = -(-len(users) // clients)
    return [piece.tolist() for piece in np.array_split(np.asarray(users, dtype=np.int64), count)]


def _common(
    adapter: npt.NDArray[np.float32],
    config: ExperimentConfig,
    round_number: int = 0,
    *,
    phase: Phase = "validation",
    merge: bool = True,
    state: Path | None = None,
    adapted: float = 0.0,
) -> Common:
    folder = state and state.resolve()
    return Common(adapter, round_number, phase, config, merge, folder, adapted)
