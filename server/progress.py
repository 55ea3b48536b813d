"""Who is told of completed rounds: a context variable, so that no state is global to a process."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from logging import INFO

from flwr.supercore import log

Listener = Callable[[dict[str, float]], None]

METRICS = ("hr@10", "ndcg@10")

listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report_round(entry: dict[str, float]) -> None:
    """Pass a round's entry to the listener of this context; without one, log it.

    The log says which round and, where the evaluator measured it, how well it ranks; how many took
    part and the exact norms are not for a log that others read.
    """
    current = listener.get()
    if current is not None:
        current(entry)
        return
    metrics = [f"validation {name.upper()} {entry[name]:.3f}" for name in METRICS if name in entry]
    log(INFO, "%s", ", ".join([f"round {entry['round']:.0f} completed", *metrics]))
