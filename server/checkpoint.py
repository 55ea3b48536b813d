"""The server's state between rounds, written atomically together with its ledger position."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from shared.errors import ConfigError
from shared.files import check_file, write_atomically

Vector = npt.NDArray[np.float64]


@dataclass
class ServerState:
    """Everything a round changes.

    Attributes
    ----------
    adapter : float64 [dim]
        The current iterate.
    round_number : int
        The last completed round; 0 before the first.
    average : float64 [dim]
        Sum of the iterates that are averaged, of `averaged` rounds.
    best : float64 [dim]
        The iterate with the best validation so far, `best_score`; where there is noise, with the
        best private metric, and only where that selects.
    optimizer : dict of str to float64 [dim]
        The optimiser's moments.
    ledger : tuple of int and str
        Length and head of the ledger at `round_number`.
    history : list of dict
        One entry per round, for the evaluator of a simulation; empty on real nodes, where nothing
        is kept that depends on who answered.
    popularity : float64 [items]
        The popularity histogram as it was released; empty without one.
    moments : float64 [K]
        What people have together as it was released; empty without it.
    basis : dict of str to array
        The coordinates that it is asked for in, see `shared.privacy.contribution.moments`: kept
        before anyone is asked, as another machine would find others; empty without it.
    clips : list of float
        Clipping norms of all rounds and of the next one, where the clip adapts; else empty.
    bits : list of float or None
        The released sum of bits of each round, from which the next norm follows; None of one that
        released nothing, and left the norm as it was.
    metrics : list of dict
        Private metrics that were released; see `server.release.metrics`.
    silent : bool
        Whether the run stopped because a stretch of rounds held nothing; see
        `server.cohort.silence`.
    """

    adapter: Vector
    round_number: int = 0
    average: Vector = field(default_factory=lambda: np.zeros(0))
    averaged: int = 0
    best: Vector = field(default_factory=lambda: np.zeros(0))
    best_score: float = -1.0
    optimizer: dict[str, Vector] = field(default_factory=dict)
    ledger: tuple[int, str] = (0, "")
    history: list[dict[str, float]] = field(default_factory=list)
    popularity: Vector = field(default_factory=lambda: np.zeros(0))
    moments: Vector = field(default_factory=lambda: np.zeros(0))
    basis: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    clips: list[float] = field(default_factory=list)
    bits: list[float | None] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    silent: bool = False


_VECTORS = ("adapter", "average", "best", "popularity", "moments")
_TABLES = ("optimizer", "basis")  # arrays by name


def save(state: ServerState, file: Path) -> None:
    """Write the state so that a crash at any instant leaves the old file or the new one."""
    plain = {k: v for k, v in vars(state).items() if k not in (*_VECTORS, *_TABLES)}
    tensors = {name: np.ascontiguousarray(getattr(state, name)) for name in _VECTORS}
    for table in _TABLES:
        of = getattr(state, table).items()
        tensors |= {f"{table}.{name}": np.ascontiguousarray(array) for name, array in of}
    write_atomically(file, save_tensors(tensors, metadata={"state": json.dumps(plain)}))


def load(file: Path) -> ServerState | None:
    """The saved state, or None if there is none.

    Raises
    ------
    ConfigError
        If the file is not a checkpoint.
    """
    if not file.exists():
        return None
    try:
        check_file(file)
        with safe_open(file, framework="np") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (no dict)
            plain = json.loads((stream.metadata() or {})["state"])
        vectors = {name: tensors[name] for name in _VECTORS}
        plain["ledger"] = tuple(plain["ledger"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not a checkpoint ({error}); remove it to start over") from None
    optimizer, basis = (
        {k.removeprefix(f"{table}."): v for k, v in tensors.items() if k.startswith(f"{table}.")}
        for table in _TABLES
    )
    try:
        return ServerState(**vectors, optimizer=optimizer, basis=basis, **plain)
    except TypeError as error:
        raise ConfigError(f"{file}: of another version ({error}); start anew") from None
