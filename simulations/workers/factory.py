"""How a worker is made: placed by Ray, asked for its software, and given its data to open."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import RayError, RayTaskError

from shared.config import ExperimentConfig
from shared.data.salted import SaltedDigest
from shared.errors import ConfigError, EngineError, StarlingError, last_line
from simulations.workers.actor import SEEN, Worker, software
from simulations.workers.ray_session import Share

_LOOK = 0.5  # seconds between looks whether Ray has found room


class WorkerFactory:
    """Makes workers that are all alike.

    Parameters
    ----------
    share : Share
        What one takes.
    config : ExperimentConfig
        What it opens, and how it computes.
    vectors : float32 [items, d]
        Of the catalogue.
    data : SaltedDigest, optional
        Of the people that it must open.
    """

    def __init__(
        self,
        share: Share,
        config: ExperimentConfig,
        vectors: npt.NDArray[np.float32],
        data: SaltedDigest | None = None,
    ) -> None:
        self._share = share
        self._config = config
        self._data = data
        self._vectors = ray.put(vectors)
        self._software = software()

    def place(self) -> Any:
        """A new actor, somewhere, as soon as there is room."""
        make = ray.remote(
            num_cpus=self._share.cpus,
            num_gpus=self._share.gpus,
            max_restarts=0,  # a restarted one would have nothing open
            scheduling_strategy="SPREAD",
        )
        return make(Worker).remote()

    def introduce(self, actor: Any, go_on: Callable[[], None]) -> None:
        """Wait for an actor, check its software, have it open its data.

        Parameters
        ----------
        actor
        go_on : callable
            Called now and then while there is no room; raises to end the waiting.

        Raises
        ------
        ConfigError
            If software, data, items or weights differ there.
        ray.exceptions.RayError
            If it dies meanwhile.
        """
        waited = actor.hello.remote()
        while not ray.wait([waited], timeout=_LOOK)[0]:
            go_on()
        node, theirs = _answer(waited, "a node")
        for name, version in self._software.items():
            if theirs.get(name) != version:
                raise ConfigError(
                    f"worker on {node}: {name} is {theirs.get(name)} there and {version} here; "
                    "install the same on every node"
                )
        _answer(actor.open.remote(self._config, self._vectors, self._data), node)


def _answer(reference: Any, node: str) -> Any:
    """An answer; what a worker raised on purpose, as it raised it, with where that was."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, StarlingError):
            raise type(cause)(f"worker on {node}: {cause}") from None
        raise EngineError(f"worker on {node}: {reason(error)}") from error


def check_folder(folder: Path, actor: Any, name: str) -> None:
    """Refuse a worker that has not this folder in common with us.

    Parameters
    ----------
    folder : Path
    actor
        Of `Worker`.
    name : str
        Of a file that is made in the folder and removed.

    Raises
    ------
    ConfigError
        If it does not see what is written there, or its own writing is not seen here.
    """
    probe, token = folder / name, secrets.token_hex(8)
    try:
        probe.write_text(token, encoding="utf-8")
        seen = ray.get(actor.reach.remote(probe, token))
        seen = seen and probe.read_text(encoding="utf-8") == SEEN
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written any more ({error.strerror}); devices that add noise keep "
            "their ledgers there"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    if not seen:
        node, _ = ray.get(actor.hello.remote())
        raise ConfigError(
            f"{folder}: a worker on {node} cannot read and write it, and devices that add noise "
            "keep their ledgers there; give an --out that all nodes share, such as on NFS, or use "
            "workers on one machine"
        )


def reason(error: RayError) -> str:
    """The first sentence of its last line: what follows are guesses."""
    return last_line(str(error)).split(". ")[0].rstrip(".")


def kill(actor: Any) -> None:
    """End a worker, whatever state it is in: what it was asked is then nobody's any more."""
    if actor is not None:
        with contextlib.suppress(Exception):
            ray.kill(actor)
