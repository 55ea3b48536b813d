"""Ray for the time of a sweep: started on this machine, or a cluster that runs already.

What every use of Ray here shares: nothing phones home, nothing outlives the command by more than
seconds, its errors are one line, and signals stay the command's own.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from shared.config import EngineConfig
from shared.errors import ConfigError, EngineError, StarlingError, last_line

_STORE = 256 * 2**20  # bytes of Ray's object store: requests under way, not data
_LONGEST_FOLDER = 40  # characters: Ray puts sockets below it, whose paths may have 107
_PER_GPU = 4  # workers on one GPU unless told otherwise
_ANSWER = 5.0  # seconds that a cluster's head has to accept a connection

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
    """What workers take of a machine or a cluster.

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


def share_of(
    config: EngineConfig, device: str, cores: int, gpus: int, where: str = "this machine"
) -> Share:
    """How a machine is divided among workers.

    Parameters
    ----------
    config : EngineConfig
    device : str
        `cpu`, `cuda` or `mps`: what the workers compute on.
    cores, gpus : int
        What the machine has.
    where : str
        The machine in words.

    Raises
    ------
    ConfigError
        If it has less than one worker needs.
    """
    if config.cpus_per_client > cores:
        raise ConfigError(f"engine.cpus_per_client = {config.cpus_per_client}: {where} has {cores}")
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


class RaySession:
    """Ray, from entering to `close`; made by `start_here` or `join`.

    Attributes
    ----------
    share : Share
    device : str
        `cpu`, `cuda` or `mps`: what workers compute on.
    """

    def __init__(self, share: Share, device: str, folder: Path | None) -> None:
        self.share = share
        self.device = device
        self._folder = folder

    def close(self) -> None:
        """Leave Ray; one that was started here ends, and what it wrote is removed."""
        import ray

        ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def start_here(config: EngineConfig, device: torch.device, shared: int = 0) -> RaySession:
    """Start Ray on this machine.

    Parameters
    ----------
    config : EngineConfig
    device : torch.device
        What the workers compute on.
    shared : int
        Bytes that all workers read, and which stay.

    Raises
    ------
    ConfigError
        If Ray is not installed, or the machine is too small for the settings.
    EngineError
        If Ray does not start.
    """
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    share = share_of(config, device.type, _cores(), gpus)
    _require_ray(config)
    folder = Path(_temporary_folder())
    try:
        _start(share, folder, _STORE + 2 * shared)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return RaySession(share, device.type, folder)


def _start(share: Share, folder: Path, store: int) -> None:
    with _one_line("Ray did not start"), _apart():
        import ray

        ray.init(
            address="local",  # whatever RAY_ADDRESS says
            num_cpus=share.workers * share.cpus,
            num_gpus=torch.cuda.device_count() if share.gpus else 0,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=store,
            _temp_dir=str(folder),
        )


def join(config: EngineConfig, device: torch.device) -> RaySession:
    """Join the cluster that `engine.address` names; this machine must be one of its nodes.

    Parameters
    ----------
    config : EngineConfig
    device : torch.device
        What this process computes on. Under `engine.device = auto` workers use GPUs if the cluster
        has any.

    Raises
    ------
    ConfigError
        If Ray is not installed, nobody answers there, or the cluster is too small.
    """
    _require_ray(config)
    _refuse_silent(config.address)
    with _one_line(f"engine.address = {config.address}: Ray cannot be joined", ConfigError):
        import ray

        ray.init(address=config.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        found = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray: untyped
        kind = "cuda" if config.device == "auto" and found.get("GPU") else device.type
        share = _share_of_cluster(config, kind, found)
    except BaseException:
        ray.shutdown()
        raise
    return RaySession(share, kind, None)


def _share_of_cluster(config: EngineConfig, device: str, found: dict[str, float]) -> Share:
    cores, gpus = int(found.get("CPU", 0)), int(found.get("GPU", 0))
    share = share_of(config, device, cores, gpus, "the cluster")
    if share.workers * share.cpus > cores:  # here they would share cores; there they would wait
        raise ConfigError(
            f"engine.workers = {share.workers}: with {share.cpus} core(s) each, the cluster's "
            f"{cores} are enough for {cores // share.cpus}"
        )
    return share


def _refuse_silent(address: str) -> None:
    """Ray itself would try for a minute."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"engine.address = {address}: nobody answers ({error}); start Ray there with ray start "
            "--head, or use engine.address = auto on a node of the cluster"
        ) from None


def _require_ray(config: EngineConfig) -> None:
    os.environ.update({k: os.environ.get(k, v) for k, v in _ENVIRONMENT.items()})
    try:
        import ray
    except ModuleNotFoundError as error:
        asked, instead = "engine.engine = ray", "engine.engine = cohort"
        if config.engine == "cohort":
            asked, instead = f"engine.workers = {config.workers}", "engine.workers = 0"
        raise ConfigError(
            f"{asked}: {error.name} is not installed; pip install ray, or use {instead}"
        ) from None
    del ray


@contextmanager
def _one_line(what: str, kind: type[StarlingError] = EngineError) -> Iterator[None]:
    """Errors as one line; and whoever listened to SIGTERM before Ray does so after it."""
    mine = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except Exception as error:  # whatever Ray raises
        raise kind(f"{what}: {last_line(str(error))}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, mine)


_starting = threading.Event()


def _leave_group() -> None:
    if _starting.is_set():
        os.setpgrp()


os.register_at_fork(after_in_child=_leave_group)


@contextmanager
def _apart() -> Iterator[None]:
    """Processes started meanwhile are in groups of their own.

    A signal to the command's whole group (a terminal that closes, a batch system) ends the command,
    which ends them: if they went first, Ray would end the command, in words of its own.
    """
    _starting.set()
    try:
        yield
    finally:
        _starting.clear()


def _cores() -> int:
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _temporary_folder() -> str:
    usual = tempfile.gettempdir()
    return tempfile.mkdtemp(
        prefix="starling-", dir=usual if len(usual) <= _LONGEST_FOLDER - 20 else "/tmp"
    )
