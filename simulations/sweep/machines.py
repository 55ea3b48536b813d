"""What the points of a sweep are computed on: this process, Ray's devices, or workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from shared.config import ExperimentConfig, ModelConfig
from shared.data.salted import SaltedDigest
from shared.run_files import run_files
from simulations.engine.cohort import CohortEngine
from simulations.engine.placement import choose_device
from simulations.engine.simulation import Simulation
from simulations.flower.grid import CohortGrid, SequentialGrid, VirtualGrid, nodes_of

if TYPE_CHECKING:
    from simulations.flower.ray import RayEngine
    from simulations.workers.engine import ShardedEngine
    from simulations.workers.pool import WorkerPool


class Machines(Simulation):
    """A simulation with what else computes on it, started when first asked for.

    Parameters
    ----------
    config : ExperimentConfig
    vectors : float32 [items, d], optional
    data : SaltedDigest, optional
        As for `Simulation`.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        vectors: npt.NDArray[np.float32] | None = None,
        data: SaltedDigest | None = None,
    ) -> None:
        super().__init__(config, vectors, data)
        self._ray: RayEngine | None = None
        self._pool: WorkerPool | None = None

    def ray(self) -> RayEngine:
        """Ray and its workers, started when first asked for."""
        if self._ray is None:
            from simulations.flower.ray import RayEngine  # Ray enters here

            engine = self.config.engine
            self._ray = RayEngine(engine, choose_device(engine.device))
        return self._ray

    def workers(self) -> WorkerPool | None:
        """The workers that `engine.workers` asks for, started when first asked for, or None."""
        if self._pool is None and self.config.engine.sharded:
            from simulations.workers.pool import open_pool  # Ray enters here

            self._pool = open_pool(self.config, self.vectors, self.data)
            self._pool.start()
        return self._pool

    def trainer(self, model: ModelConfig) -> CohortEngine | ShardedEngine:
        """What trains cohorts of a model: the engine of this process, or its workers."""
        engine, pool = self.engine(model), self.workers()
        if pool is None:
            return engine
        from simulations.workers.engine import ShardedEngine

        return ShardedEngine(engine, pool, self.config.engine.shard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._ray is not None:
            self._ray.close()
            self._ray = None
        if self._pool is not None:
            self._pool.close()
            self._pool = None


@contextmanager
def open_grid(
    simulation: Machines, model: ModelConfig, run_config: Mapping[str, str | bool]
) -> Iterator[Grid]:
    """The grid of one run on the engine that the settings name."""
    name = simulation.config.engine.engine
    state = run_files(Path(str(run_config["directory"])), str(run_config["name"])).devices
    if name == "ray":
        with simulation.ray().grid(nodes_of(simulation.population), run_config) as grid:
            grid.protocol = simulation.protocol.stated()
            yield grid
    else:
        virtual: VirtualGrid = (
            SequentialGrid(simulation.engine(model), state)
            if name == "sequential"
            else CohortGrid(simulation.trainer(model), state)
        )
        virtual.protocol = simulation.protocol.stated()
        yield virtual
