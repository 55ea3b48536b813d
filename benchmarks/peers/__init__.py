"""The peers: one file each, all doing the same work (`benchmarks/work.py`).

Each has a function `run(work, unit, cohorts, done)`: it trains the cohorts one after the other as
that tool would, and calls `done` after each, with the clients' updates [users, dim] on the CPU in
order of user where it is asked for them (`done.wants`).

`anchors`, `dp_als` and `pfedrec` are compared by accuracy, not by speed
(`benchmarks/frontier_peers.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, Protocol

from torch import Tensor
from work import Work

Cohorts = list[list[int]]


class Done(Protocol):
    """Told after each cohort."""

    @property
    def wants(self) -> bool:
        """Whether this cohort's updates are compared: asked once, after what warms up."""
        ...

    def __call__(self, updates: Tensor | None) -> None:
        """A cohort is finished."""
        ...


class Peer(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    module, function : str
        Where it is.
    units : tuple of str
        What it can do.
    says : str
        What it is.
    dtype : str
        Of the frozen backbone.
    slow : bool
        Much slower than all others: one cohort is measured, and a part of one warms up.
    tree : bool
        Whether it starts processes of its own.
    """

    module: str
    function: str
    units: tuple[str, ...]
    says: str
    dtype: str = "float32"
    slow: bool = False
    tree: bool = False


PEERS = {
    "sequential": Peer(
        "sequential", "run", ("none", "user"), "a plain resident loop, one client at a time"
    ),
    "opacus": Peer(
        "with_opacus", "run", ("example",), "the loop, Opacus's hooks and its DPOptimizer"
    ),
    "pfl": Peer("with_pfl", "run", ("none",), "Apple's pfl 0.6.0, its simulated backend"),
    "flower": Peer(
        "flower", "cached", ("none",), "Flower on 2 Ray actors, the model kept", tree=True
    ),
    "flower-naive": Peer(
        "flower",
        "naive",
        ("none",),
        "Flower on 2 Ray actors, a model for every message",
        slow=True,
        tree=True,
    ),
    "reference": Peer(
        "ours",
        "reference",
        ("none", "example"),
        "the slow oracle: nested vmap, padded windows",
    ),
    "ours": Peer("ours", "run", ("none", "user", "example", "sum"), "the cohort engine"),
    "ours-bf16": Peer(
        "ours", "run", ("none", "example"), "the cohort engine, bf16 backbone", dtype="bf16"
    ),
}


def runner(peer: Peer) -> Callable[[Work, str, Cohorts, Done], None]:
    """The peer's function; importing it may need what is not installed."""
    found: Callable[[Work, str, Cohorts, Done], None] = getattr(
        import_module(f"peers.{peer.module}"), peer.function
    )
    return found
