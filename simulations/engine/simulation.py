"""What all points of a sweep share: population, item vectors, one engine per model."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from shared.config import ExperimentConfig, ModelConfig
from shared.config.rounds import AUTO
from shared.data.population import Population, history_of, smallest
from shared.data.protocol import Protocol
from shared.data.salted import SaltedDigest
from shared.errors import ConfigError, DataError, ModelError
from shared.model.recommender import build_recommender
from shared.model.sources.choice import WEIGHTS, find, vectors_of
from shared.model.start import refuse_same_people, start_of
from simulations.engine.cohort import CohortEngine
from simulations.engine.placement import keep_freed_memory, place
from simulations.world.sources import open_population


class Simulation:
    """Opens the data once, encodes the catalogue once, builds each model once.

    Parameters
    ----------
    config : ExperimentConfig
    vectors : float32 [items, d], optional
        Of the catalogue, where another process has made them already.
    data : SaltedDigest, optional
        What a run's people were when it started: others are refused.

    Attributes
    ----------
    data : SaltedDigest
        Of the people that were opened: as it was given, or under a new salt.
    sealing : threading.Lock
        Held while accountants run: their packages are quietened process-wide.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        vectors: npt.NDArray[np.float32] | None = None,
        data: SaltedDigest | None = None,
    ) -> None:
        self.config = config
        started = data.started if data else ""
        with _where_it_is(config.data.spec, started):
            self.population: Population = open_population(config.data, config.world)
        if data is not None:
            data.check(self.population)
        self.data = data or SaltedDigest.of(self.population)
        if config.engine.threads:
            torch.set_num_threads(config.engine.threads)
        keep_freed_memory()
        items = config.model.items or config.model.backbone
        with _where_it_is(config.model.backbone, started), _where_it_is(items, started):
            self._sources = find(config.model)
        with _where_it_is(config.model.start or "", started):
            self._start = start_of(config.model, self._sources.reader)
        refuse_same_people(self._start, self.population.catalogue.digest)
        self.config = self._identified(config)
        if vectors is None:
            vectors = vectors_of(self.population.catalogue, self._sources, config.model)
        self.vectors = vectors
        self.sealing = threading.Lock()
        self._engines: dict[ModelConfig, CohortEngine] = {}

    def _identified(self, config: ExperimentConfig) -> ExperimentConfig:
        """The settings with the digests of what is public of what they name: items and weights."""
        items = self.population.catalogue.digest
        data = dataclasses.replace(
            config.data,
            catalogue=_same("data.catalogue", config.data.catalogue, items),
            people=self._people(config),
        )
        for name, here, stated in self._sources.digests(config.model):
            _same(f"model.{name}_sha256", stated, here)
        begun = None if self._start is None else self._start.digest
        model = dataclasses.replace(self._sources.identified(config.model), start_sha256=begun)
        return dataclasses.replace(config, data=data, model=model)

    def _people(self, config: ExperimentConfig) -> int | None:
        """How many there are, where rounds follow from it; None where they are given."""
        stated, here = config.data.people, len(self.population)
        own = config.private.get("federation", {}).get("rounds")
        if stated not in (None, here):
            raise ConfigError(
                f"data.people: there are {here} here, the settings say {stated}: people changed "
                "since the run started, or these are another run's; leave it out, and start a new "
                "run with another --out"
            )
        return here if AUTO in (config.federation.rounds, own) else stated

    @property
    def users(self) -> Sequence[int]:
        """All users of the population, by key."""
        return self.population.keys

    @property
    def evaluated(self) -> list[int]:
        """Those that metrics and references are about, by key: `data.evaluated_users` of all."""
        return smallest(self.population.keys, self.config.data.evaluated_users)

    @cached_property
    def protocol(self) -> Protocol:
        """Who of those is evaluated, and among how many negatives."""
        items, wanted = len(self.population.catalogue), self.config.data.negatives
        return Protocol.of(self._lengths, items, wanted)

    @property
    def interactions(self) -> int:
        """Of everybody; of people too many to go through what is expected of them."""
        everybody = len(self._lengths) == len(self.population)
        return sum(self._lengths) if everybody else self.population.interactions

    @cached_property
    def _lengths(self) -> list[int]:
        return [len(history_of(self.population, user)) for user in self.evaluated]

    @property
    def backbone_digest(self) -> str:
        """SHA-256 (hex) of the backbone's weights."""
        return self._sources.reader.digest

    def engine(self, model: ModelConfig) -> CohortEngine:
        """The engine of a model; the same settings give the same engine."""
        for name in (*WEIGHTS[:3], "start"):
            if getattr(model, name) != getattr(self.config.model, name):
                raise ConfigError(f"private.model.{name}: one {name} per experiment")
        if model not in self._engines:
            texts, start = self.population.catalogue.described, self._start
            source = self._sources.reader
            recommender = build_recommender(source, self.vectors, model, texts, start)
            place(recommender, self.config.engine)
            self._engines[model] = CohortEngine(self.population, recommender, self.config.engine)
        return self._engines[model]


@contextmanager
def _where_it_is(named: str, started: str) -> Iterator[None]:
    """The folder in which a run was started, while what lies there by a relative path is opened.

    A whole project that was moved elsewhere has it where the run is continued.
    """
    there = started and not Path(named).is_absolute() and (Path(started) / named).exists()
    try:
        with chdir(started) if there else nullcontext():
            yield
    except (DataError, ModelError) as error:
        if not started or there or Path(named).exists():
            raise
        raise type(error)(f"{error}; the run was started in {started}") from None


def _same(name: str, stated: str | None, found: str) -> str:
    if stated is not None and stated != found:
        raise ConfigError(
            f"{name}: is {found[:12]} here, the settings say {stated[:12]}: items or weights "
            "changed since the run started; start a new run with another --out"
        )
    return found
