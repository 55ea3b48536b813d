"""The Ray engine: the real ServerApp and ClientApp through Flower's simulation runtime.

One Ray instance on this machine, its actors started once for a whole sweep, each with its own
share of the processor or a GPU and the population and models resident (`simulations.people`).
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from client.app import app as client_app
from shared.config import EngineConfig
from shared.errors import ConfigError, EngineError
from simulations.people_grid import PeopleGrid, last_line

if TYPE_CHECKING:
    from simulations.runtime import ResidentBackend

_STORE = 256 * 2**20  # bytes of Ray's object store: requests under way, not data
_WINDOW = 32  # messages under way per worker
_LONGEST_FOLDER = 40  # characters: Ray puts sockets below it, whose paths may have 107
_PER_GPU = 4  # workers on one GPU unless told otherwise

# Set before Ray is imported; children inherit them.
_ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    # What Ray announces as its next default; without it, it warns.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray's helpers outlive a killed command by this many seconds: 60 by default.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}


@dataclass(frozen=True)
class Share:
    """What the engine takes of a machine.

    Attributes
    ----------
    workers : int
        Processes, >= 1.
    cpus : int
        Cores, and threads, of each.
    gpus : float
        Share of a GPU of each, in [0, 1].
    """

    workers: int
    cpus: int
    gpus: float


def share_of(config: EngineConfig, device: str, cores: int, gpus: int) -> Share:
    """How a machine is divided among workers.

    Parameters
    ----------
    config : EngineConfig
    device : str
        `cpu`, `cuda` or `mps`: what the workers compute on.
    cores, gpus : int
        What the machine has.

    Raises
    ------
    ConfigError
        If it has less than one worker needs.
    """
    if config.cpus_per_client > cores:
        raise ConfigError(
            f"engine.cpus_per_client = {config.cpus_per_client}: this machine has {cores}"
        )
    if device != "cuda":
        if config.gpus_per_client:
            raise ConfigError(
                f"engine.gpus_per_client = {config.gpus_per_client:g}: the device is {device}, "
                "which is not shared; use engine.device = cuda where there is one, or 0"
            )
        return Share(config.workers or cores // config.cpus_per_client, config.cpus_per_client, 0)
    fitting = int(gpus / config.gpus_per_client) if config.gpus_per_client else _PER_GPU * gpus
    workers = config.workers or min(cores // config.cpus_per_client, fitting)
    if config.gpus_per_client and workers > fitting:
        raise ConfigError(
            f"engine.workers = {workers}: {gpus} GPU(s) in shares of "
            f"{config.gpus_per_client:g} are enough for {fitting}"
        )
    # Rounded down, or the last worker would find a hair too little.
    equal = int(10_000 * gpus / workers) / 10_000
    return Share(workers, config.cpus_per_client, config.gpus_per_client or min(1.0, equal))


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
        gpus = torch.cuda.device_count() if device.type == "cuda" else 0
        self.share = share_of(config, device.type, _cores(), gpus)
        self._how: dict[str, str | bool] = {
            "device": device.type,
            "dtype": config.dtype,
            "checkpointing": config.checkpointing,
        }
        self._folder = Path(_temporary_folder())
        os.environ.update({k: os.environ.get(k, v) for k, v in _ENVIRONMENT.items()})
        self._backend = _start(self.share, self._folder)

    @contextmanager
    def grid(self, users: int, run_config: Mapping[str, str | bool]) -> Iterator[PeopleGrid]:
        """A grid of all users for one run; the actors stay for the next."""
        from simulations.runtime import running

        told = {**run_config, **self._how}
        with _hushed(), running(self._backend, client_app, users, told) as runtime:
            window = _WINDOW * self.share.workers
            yield PeopleGrid(runtime.grid, runtime.nodes, window, runtime.check)

    def close(self) -> None:
        """End the actors and Ray, and remove what it wrote."""
        self._backend.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _cores() -> int:
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _temporary_folder() -> str:
    usual = tempfile.gettempdir()
    return tempfile.mkdtemp(
        prefix="starling-", dir=usual if len(usual) <= _LONGEST_FOLDER - 20 else "/tmp"
    )


def _start(share: Share, folder: Path) -> ResidentBackend:
    try:
        import ray

        from simulations.runtime import ResidentBackend
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"engine.engine = ray: {error.name} is not installed; pip install ray, "
            "or use engine.engine = cohort"
        ) from None
    try:
        ray.init(
            num_cpus=share.workers * share.cpus,
            num_gpus=torch.cuda.device_count() if share.gpus else 0,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_STORE,
            _temp_dir=str(folder),
        )
    except Exception as error:  # whatever Ray raises
        raise EngineError(f"Ray did not start: {last_line(str(error))}") from error
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
