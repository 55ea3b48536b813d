"""Who is told of completed rounds: a context variable, so that no state is global to a process."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

Listener = Callable[[dict[str, float]], None]

listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report_round(entry: dict[str, float]) -> None:
    """Pass a round's entry to the listener of this context, if there is one."""
    current = listener.get()
    if current is not None:
        current(entry)
