"""Which clients are trained together, and their windows: prepared while others are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.training.batches import local_batches, user_windows
from shared.config import ExperimentConfig
from shared.data.population import Population, history_of
from shared.data.split import training_history
from shared.data.windows import PAD, START
from simulations.engine.placement import Capacity

T = TypeVar("T")
Indices = npt.NDArray[np.int64]


class Person(NamedTuple):
    """A person's key and their history, oldest first, int64 [n]."""

    key: int
    history: Indices


class Batch(NamedTuple):
    """Clients trained together: inputs and targets int64 [members, steps, windows, length]."""

    members: list[int]
    inputs: Tensor
    targets: Tensor


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made by another thread while the one before it is used."""
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = thread.submit(next, items, None)
            yield item


def together(
    population: Population, keys: Sequence[int], config: ExperimentConfig, capacity: Capacity
) -> Iterator[list[Person]]:
    """Clients that fit into memory together, every key once. Results depend on no grouping.

    Histories are read a block at a time: a lazy population of any size takes no more memory.
    """

    def size(person: Person) -> int:
        return capacity.taken(targets_of(person, config))

    for start in range(0, len(keys), capacity.block):
        some = keys[start : start + capacity.block]
        block = [Person(key, history_of(population, key)) for key in some]
        # Like sizes together: windows of one length are one operation, and less padding.
        block.sort(key=size, reverse=True)
        sizes = capacity.split([size(person) for person in block])
        bounds = np.cumsum([0, *sizes]).tolist()
        yield from (block[a:b] for a, b in pairwise(bounds))


def targets_of(person: Person, config: ExperimentConfig) -> int:
    """At most so many targets has a client in one local step."""
    windows = min(config.train.max_windows, config.train.local_batch or config.train.max_windows)
    return min(len(training_history(person.history)), windows * config.model.max_length)


def batches(
    people: Iterator[list[Person]], config: ExperimentConfig, round_number: int
) -> Iterator[Batch]:
    """What each group trains on in a round."""
    for group in people:
        pairs = [
            local_batches(user_windows(person.history, config), config, round_number, person.key)
            for person in group
        ]
        yield Batch(
            [person.key for person in group],
            _stack([inputs for inputs, _ in pairs], START),
            _stack([targets for _, targets in pairs], PAD),
        )


def _stack(arrays: list[Indices], fill: int) -> Tensor:
    widest = max(array.shape[1] for array in arrays)
    padded = [
        np.pad(a, ((0, 0), (0, widest - a.shape[1]), (0, 0)), constant_values=fill) for a in arrays
    ]
    return torch.from_numpy(np.stack(padded))
