"""The Ray engine: the real ServerApp and ClientApp through Flower's simulation runtime.

One Ray instance on this machine, its actors started once for a whole sweep, each with its own
share of the processor or a GPU and the population and models resident
(`simulations.flower.devices`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from client.app import create_app
from shared.config import EngineConfig
from simulations.flower.devices import virtual_device
from simulations.flower.people_grid import PeopleGrid
from simulations.workers.ray_session import Share, start_here

if TYPE_CHECKING:
    from simulations.flower.runtime import ResidentBackend

_WINDOW = 32  # messages under way per worker

_app = create_app(virtual_device)  # the relay, as an actor has it


class RayEngine:
    """Ray and its actors, from the first point of a sweep to the last.

    Parameters
    ----------
    config : EngineConfig
    device : torch.device
        What the workers compute on.

    Raises
    ------
    ConfigError
        If Ray is not installed, or the machine is too small for the settings.
    EngineError
        If Ray does not start.
    """

    def __init__(self, config: EngineConfig, device: torch.device) -> None:
        self._session = start_here(config, device)
        self.share = self._session.share
        self._how: dict[str, str | bool] = {
            "device": device.type,
            "dtype": config.dtype,
            "checkpointing": config.checkpointing,
        }
        self._backend = _backend(self.share)

    @contextmanager
    def grid(
        self, people: Sequence[int], run_config: Mapping[str, str | bool]
    ) -> Iterator[PeopleGrid]:
        """A grid of all `people` (their nodes) for one run; the actors stay for the next."""
        from simulations.flower.runtime import running

        told = {**run_config, **self._how}
        with _hushed(), running(self._backend, _app, len(people), told) as runtime:
            window = _WINDOW * self.share.workers
            yield PeopleGrid(runtime.grid, runtime.nodes, people, window, runtime.check)

    def close(self) -> None:
        """End the actors and Ray, and remove what it wrote."""
        self._backend.close()
        self._session.close()


def _backend(share: Share) -> ResidentBackend:
    from simulations.flower.runtime import ResidentBackend  # needs Ray

    return ResidentBackend({"client_resources": {"num_cpus": share.cpus, "num_gpus": share.gpus}})


@contextmanager
def _hushed() -> Iterator[None]:
    """Flower logs tracebacks of what is raised here anyway, as one line."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
