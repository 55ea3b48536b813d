"""Flower's grid of real nodes, asked for replies sooner than every three seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from server.cohort.declined import Declined, round_of

_FIRST, _LONGEST, _GROWS = 0.2, 3.0, 1.1  # seconds until the next look, and by what it grows


class PromptGrid(Grid):
    """A grid whose replies are yielded as they arrive.

    Parameters
    ----------
    grid : Grid
        Of a SuperLink.
    declined : str
        A file that counts of devices that decline are kept in; empty: they are not.
    """

    def __init__(self, grid: Grid, declined: str = "") -> None:
        self._grid = grid
        self._declined = Declined(Path(declined)) if declined else None

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Push messages, and yield each reply; those that are late by `timeout` never come."""
        messages = list(messages)
        if self._declined and messages:
            self._declined.asked(round_of(messages[0]))
        waiting = set(self._grid.push_messages(messages))
        until = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST
        while waiting and (until is None or time.monotonic() < until):
            for reply in self._grid.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                if self._declined:
                    self._declined.heard(reply)
                yield reply
                pause = _FIRST
            if waiting:
                time.sleep(pause)
                pause = min(pause * _GROWS, _LONGEST)

    def get_node_ids(self) -> Iterable[int]:
        """Of connected nodes."""
        return self._grid.get_node_ids()

    def set_run(self, run: Run) -> None:
        """As the grid below, like what follows."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """Flower's."""
        return self._grid.run

    def create_message(self, *args: Any, **named: Any) -> Message:
        """Of Flower's older way; not used."""
        return self._grid.create_message(*args, **named)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Their numbers."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that are there."""
        return self._grid.pull_messages(message_ids)
