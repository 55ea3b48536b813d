"""What all points of a sweep share: population, item vectors, one engine per model."""

from __future__ import annotations

import dataclasses
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import torch

from shared.config import ExperimentConfig, ModelConfig
from shared.data.population import Population
from shared.data.split import evaluated_users
from shared.errors import ConfigError
from shared.model.backbone import resolve
from shared.model.items import item_vectors
from shared.model.recommender import build_recommender
from simulations.engine import CohortEngine
from simulations.memory import keep_freed_memory
from simulations.placement import choose_device, place
from simulations.sources import open_population

if TYPE_CHECKING:
    from simulations.ray_engine import RayEngine
    from simulations.workers import ShardedEngine
    from simulations.workers_pool import WorkerPool


class Workbench:
    """Opens the data once, encodes the catalogue once, builds each model once.

    Parameters
    ----------
    config : ExperimentConfig
    vectors : float32 [items, d], optional
        Of the catalogue, where another process has made them already.

    Attributes
    ----------
    sealing : threading.Lock
        Held while accountants run: their packages are quietened process-wide.
    """

    def __init__(
        self, config: ExperimentConfig, vectors: npt.NDArray[np.float32] | None = None
    ) -> None:
        self.config = config
        self.population: Population = open_population(config.data, config.world)
        if config.engine.threads:
            torch.set_num_threads(config.engine.threads)
        keep_freed_memory()
        self._source = resolve(config.model.backbone)
        self.config = self._identified(config)
        if vectors is None:
            vectors = item_vectors(self.population.catalogue.texts, self._source)
        self.vectors = vectors
        self.sealing = threading.Lock()
        self._engines: dict[ModelConfig, CohortEngine] = {}
        self._ray: RayEngine | None = None
        self._pool: WorkerPool | None = None

    def _identified(self, config: ExperimentConfig) -> ExperimentConfig:
        """The settings with the digests of what they name: another log is another experiment."""
        population = self.population
        data = dataclasses.replace(
            config.data,
            digest=_same("data.digest", config.data.digest, population.digest),
            catalogue=_same("data.catalogue", config.data.catalogue, population.catalogue.digest),
        )
        weights = _same("model.backbone_sha256", config.model.backbone_sha256, self._source.digest)
        model = dataclasses.replace(config.model, backbone_sha256=weights)
        return dataclasses.replace(config, data=data, model=model)

    @property
    def users(self) -> range:
        """All users of the population."""
        return range(len(self.population))

    @property
    def evaluated(self) -> list[int]:
        """The users that metrics and references are about: `data.evaluated_users` of all."""
        return evaluated_users(len(self.population), self.config.data.evaluated_users)

    @property
    def backbone_digest(self) -> str:
        """SHA-256 (hex) of the backbone's weights."""
        return self._source.digest

    def engine(self, model: ModelConfig) -> CohortEngine:
        """The engine of a model; the same settings give the same engine."""
        if model.backbone != self.config.model.backbone:
            raise ConfigError("private.model.backbone: one backbone per experiment")
        if model not in self._engines:
            recommender = build_recommender(self._source, self.vectors, model)
            place(recommender, self.config.engine)
            self._engines[model] = CohortEngine(self.population, recommender, self.config.engine)
        return self._engines[model]

    def ray(self) -> RayEngine:
        """Ray and its workers, started when first asked for."""
        if self._ray is None:
            from simulations.ray_engine import RayEngine  # Flower enters here

            engine = self.config.engine
            self._ray = RayEngine(engine, choose_device(engine.device))
        return self._ray

    def workers(self) -> WorkerPool | None:
        """The workers that `engine.workers` asks for, hired when first asked for; None if none."""
        if self._pool is None and self.config.engine.sharded:
            from simulations.workers_pool import open_pool  # Ray enters here

            self._pool = open_pool(self.config, self.vectors)
            self._pool.start()
        return self._pool

    def trainer(self, model: ModelConfig) -> CohortEngine | ShardedEngine:
        """What trains cohorts of a model: the engine of this process, or its workers."""
        engine, pool = self.engine(model), self.workers()
        if pool is None:
            return engine
        from simulations.workers import ShardedEngine

        return ShardedEngine(engine, pool, self.config.engine.shard)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ray is not None:
            self._ray.close()
            self._ray = None
        if self._pool is not None:
            self._pool.close()
            self._pool = None


def _same(name: str, stated: str | None, found: str) -> str:
    if stated is not None and stated != found:
        raise ConfigError(
            f"{name}: is {found[:12]} here, the settings say {stated[:12]}: data, items or weights "
            "changed since the run started; start a new run with another --out"
        )
    return found
