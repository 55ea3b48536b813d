"""Who is a canary, and which of them are in: people, or windows of people, by the run's unit.

What a canary that is in adds to a round is known: the worst that anybody could send, far beyond the
clip along a coordinate of its own, or what an odd sequence of items gives (a natural one). One that
is out adds nothing, as somebody whose data were taken away. A few others are in whatever happens,
and far beyond the clip along all coordinates at once: they show how an update of many tensors is
bounded, and nobody guesses about them.

In the statistics that are asked for once a canary of the worst kind has an item of its own, or two
where it is told which items people have together; if there are too few items, the last have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from client.training.batches import user_windows
from shared.config import ExperimentConfig
from shared.data.population import Population, smallest
from shared.data.split import MIN_EVALUATED
from shared.data.windows import Windows
from shared.errors import ConfigError
from shared.privacy.contribution.units import by_example, examples_per_user
from shared.privacy.plan.plan import server_plan

Indices = npt.NDArray[np.int64]

_SPREAD = 4  # canaries along all coordinates, at most
_HELD_OUT = MIN_EVALUATED - 1  # interactions of a history that nobody trains on


def by_window(config: ExperimentConfig) -> bool:
    """Whether a canary is a window: whether examples, and not people, are promised anything."""
    return by_example(config) and config.privacy.unit == "example"


@dataclass(frozen=True)
class Canaries:
    """Which people, or windows, are canaries, and which of them are in.

    Attributes
    ----------
    keys : tuple of int, length m
        Of whom each is, see `shared.data.population`: a window's owner, as often as they have one.
    included : bool [m]
        Each with probability 1/2.
    coordinates : int64 [m]
        Of the trained tensors, everyone's own.
    spread : tuple of int
        Keys of others, who are in and far along all coordinates.
    histories : mapping of int to int64 array
        What items they have if they are in, by key.
    natural : bool
        Whether updates are those of the histories, not the worst there are.
    """

    keys: tuple[int, ...]
    included: npt.NDArray[np.bool_]
    coordinates: Indices
    spread: tuple[int, ...] = ()
    histories: Mapping[int, Indices] = field(default_factory=dict)
    natural: bool = False

    @classmethod
    def none(cls) -> Canaries:
        """Nobody."""
        return cls((), np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int64))

    @classmethod
    def drawn(
        cls,
        population: Population,
        config: ExperimentConfig,
        dim: int,
        most: int,
        natural: bool = False,
    ) -> Canaries:
        """Up to `most` of a population, one a trained coordinate at most, by the point's seed.

        Raises
        ------
        ConfigError
            If there is room for fewer than two.
        """
        random, items = np.random.default_rng(config.seed), len(population.catalogue)
        if by_window(config):
            histories = _odd(population, config, min(most, dim), random)
            keys = [k for k, of in histories.items() for _ in range(len(user_windows(of, config)))]
            spread: list[int] = []
        elif natural:
            keys, spread = smallest(population.keys, min(most, dim)), []
            histories = _odd(population, config, len(keys), random)
        else:
            chosen = smallest(population.keys, min(most, dim))
            few = min(_SPREAD, len(chosen) // 8)
            keys, spread = chosen[few:], chosen[:few]
            plan = server_plan(config, len(population))
            pairs = plan is not None and plan.of("moments") is not None
            histories = _own(keys, items, 2 if pairs else 1)
        if len(keys) < 2:
            raise ConfigError(f"{len(keys)} canaries: expected at least 2")
        return cls(
            tuple(keys),
            random.random(len(keys)) < 0.5,
            random.choice(dim, len(keys), replace=False).astype(np.int64),
            tuple(spread),
            histories,
            natural,
        )

    def cut(self, config: ExperimentConfig) -> Windows:
        """The windows [m, L] of natural canaries, or those that are canaries."""
        cuts = [user_windows(history, config) for history in self.histories.values()]
        return Windows(
            np.concatenate([of.inputs for of in cuts]), np.concatenate([of.targets for of in cuts])
        )


def _odd(
    population: Population, config: ExperimentConfig, most: int, random: np.random.Generator
) -> dict[int, Indices]:
    """Histories of so many windows together, of items in no order that anybody would choose."""
    items, length = len(population.catalogue), config.model.max_length
    windows = examples_per_user(config) if by_window(config) else 1
    trained = min(windows * length, items - _HELD_OUT)
    trained -= trained % length if trained > length else 0
    people = max(1, most // -(-trained // length))
    return {
        key: random.permutation(items)[: trained + _HELD_OUT].astype(np.int64)
        for key in smallest(population.keys, people)
    }


def _own(keys: list[int], items: int, each: int) -> dict[int, Indices]:
    """So many items of everyone's own, as far as they go; of one or two nothing is held out."""
    return {
        key: np.arange(place * each, (place + 1) * each, dtype=np.int64)
        if (place + 1) * each <= items
        else np.zeros(0, dtype=np.int64)
        for place, key in enumerate(keys)
    }


class WithCanaries:
    """A population in which canaries have the items that they have if they are in, or none.

    Parameters
    ----------
    population : Population
    canaries : Canaries
    out : frozenset of int
        Keys of those who have none.
    """

    def __init__(self, population: Population, canaries: Canaries, out: frozenset[int]) -> None:
        self._population, self._histories, self._out = population, canaries.histories, out

    def __getattr__(self, name: str) -> Any:
        return getattr(self._population, name)

    def __len__(self) -> int:
        return len(self._population)

    def history(self, user: int) -> Indices:
        """A canary's own items, or nothing; of others what they have."""
        key = self._population.keys[user]
        own = self._histories.get(key)
        if own is None:
            return self._population.history(user)
        return np.zeros(0, dtype=np.int64) if key in self._out else own
