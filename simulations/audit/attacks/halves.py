"""Runs of one point with and without some of its people, and what each of them released.

Whoever is out has no data, as a zero-out neighbour has: how many people there are, their keys, the
plan and every setting stay. Server, devices and noise are those of every run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from server.app import app, listener
from server.prepare import prepare
from shared.config import ExperimentConfig
from shared.data.catalogue import Catalogue
from shared.data.population import Population
from shared.run_files import point_name, run_files
from shared.update import Arrays
from simulations.engine.cohort import CohortEngine
from simulations.engine.simulation import Simulation
from simulations.flower.grid import CohortGrid, run_app

_BITS = 0x68616C66  # a stream of randomness of its own


class Without:
    """A population in which some people have no data.

    Parameters
    ----------
    population : Population
    out : iterable of int
        By key, see `shared.data.population`.
    """

    def __init__(self, population: Population, out: Iterable[int]) -> None:
        self._population, self._out = population, frozenset(out)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._population, name)

    def __len__(self) -> int:
        return len(self._population)

    def history(self, user: int) -> npt.NDArray[np.int64]:
        """What a person has; nothing of somebody who is out."""
        if self._population.keys[user] in self._out:
            return np.empty(0, dtype=np.int64)
        return self._population.history(user)


class Made:
    """People with made-up histories over a real catalogue: an attacker's own devices.

    Parameters
    ----------
    catalogue : Catalogue
    histories : sequence of sequence of int
        A person each, whose key is their place.
    """

    name = "made up"

    def __init__(self, catalogue: Catalogue, histories: Sequence[Sequence[int]]) -> None:
        self.catalogue = catalogue
        self._histories = [np.array(history, dtype=np.int64) for history in histories]
        self.keys = range(len(self._histories))
        self.digest = catalogue.digest
        self.interactions = sum(map(len, self._histories))

    def __len__(self) -> int:
        return len(self._histories)

    def history(self, user: int) -> npt.NDArray[np.int64]:
        """As it was given."""
        return self._histories[user]

    def user_id(self, user: int) -> str:
        """The place, in words."""
        return str(user)

    def user_index(self, user_id: str) -> int:
        """The place."""
        return int(user_id)

    def user_of(self, key: int) -> int:
        """The key itself."""
        return key


@dataclass(frozen=True)
class Released:
    """What a reader of a finished run has of it.

    Attributes
    ----------
    adapter : mapping of str to float32 array
    popularity : float64 [items] or None
        The histogram with its noise, where one was released.
    """

    adapter: Arrays
    popularity: npt.NDArray[np.float64] | None

    @classmethod
    def read(cls, folder: Path, name: str) -> Released:
        """Of a run's folder, by the name of the point."""
        files = run_files(folder, name)
        counts: Mapping[str, Any] = load_file(files.popularity) if files.popularity.exists() else {}
        return cls(load_file(files.adapter), counts.get("counts"))


def memberships(models: int, people: int, seed: int) -> npt.NDArray[np.bool_]:
    """Who is in which run, bool [models, people]: every bit 1 with probability 1/2, independent.

    The bits of one run say nothing of another's, so that references cannot give away a target.
    """
    return np.random.default_rng((_BITS, seed)).random((models, people)) < 0.5


def audited(config: ExperimentConfig) -> ExperimentConfig:
    """A point's settings without what an evaluator alone sees: no guarantee is about it."""
    data = dataclasses.replace(config.data, evaluated_users=min(config.data.evaluated_users, 40))
    federation = dataclasses.replace(config.federation, evaluate_every=0)
    return dataclasses.replace(config, data=data, federation=federation)


def released_without(
    simulation: Simulation, config: ExperimentConfig, out: Iterable[int], folder: Path
) -> Released:
    """Run a point without some of its people, through the server of every run.

    Parameters
    ----------
    simulation : Simulation
    config : ExperimentConfig
        Of the point; see `audited`.
    out : iterable of int
        By key.
    folder : Path
        Of this run alone.
    """
    recommender = simulation.engine(config.model).recommender
    people = Without(simulation.population, out)
    engine = CohortEngine(people, recommender, simulation.config.engine)
    settings = prepare(recommender, config, folder)
    name = point_name(config.privacy.epsilon, config.seed)
    token = listener.set(lambda entry: None)
    try:
        run_app(app, CohortGrid(engine, folder / "devices" / name), settings)
    finally:
        listener.reset(token)
    return Released.read(folder, name)
