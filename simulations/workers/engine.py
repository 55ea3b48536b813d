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
import ray

from shared.data.population import Population
from shared.model.adapter import AdapterSchema
from shared.request import Answer, Request
from simulations.engine.cohort import CohortEngine
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
        self._pool = pool
        self._rank = pool.rank()
        self._clients = shard or _CLIENTS[pool.session.device]

    def answer(
        self, request: Request, users: Sequence[int], state: Path | None = None
    ) -> Iterator[tuple[list[int], Answer]]:
        """See `CohortEngine.answer`; the answers to all shards in their order."""
        told, folder = ray.put(request), state and state.resolve()
        waiting: deque[Future[Any]] = deque()
        clients = self._clients if request.release == "update" else _RANKED
        try:
            for piece in shards(users, clients):  # a few ahead of whoever takes their answers
                waiting.append(self._pool.ask(self._rank, "answer", told, folder, piece))
                if len(waiting) >= _AHEAD * self._pool.size:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for answer in waiting:
                answer.cancel()


def shards(users: Sequence[int], clients: int) -> list[list[int]]:
    """Users cut into pieces of nearly equal size, at most `clients` each, in order."""
    if not users:
        return []
    count = -(-len(users) // clients)
    return [piece.tolist() for piece in np.array_split(np.asarray(users, dtype=np.int64), count)]
