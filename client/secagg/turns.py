"""Each stage of a secure sum once: what a device answered last stands on disk before it answers.

What a device keeps of a sum in memory could be handed to two processes at once, or an older copy of
it to a third; each would sign, or reveal, for itself. This record lets one of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

from shared.errors import ConfigError, OutOfOrder
from shared.files import FolderLock, read_file, write_atomically
from shared.secagg.participant import Stage

FILE = "sums.json"


class Turns(Protocol):
    """Whose turn it is."""

    def take(self, session: str, stage: Stage) -> None:
        """Let a stage of a session be answered, once.

        Raises
        ------
        OutOfOrder
            If it was answered before, another session has begun since, or a stage is left out.
        """
        ...


class InMemory:
    """For a process that answers one message after another: what a participant keeps is enough."""

    def take(self, session: str, stage: Stage) -> None:
        """Whatever comes: see `Participant`."""


class OnDisk:
    """The record of a device.

    Parameters
    ----------
    state : Path
        The device's folder; must exist.
    """

    def __init__(self, state: Path) -> None:
        self._state = state

    def take(self, session: str, stage: Stage) -> None:
        """See `Turns`; ConfigError if the record cannot be read or written."""
        file = self._state / FILE
        with FolderLock(self._state) as lock:
            lock.take(wait=True)
            last = _read(file)
            begins = stage is Stage.ADVERTISED and last[0] != session
            if not begins and last != (session, stage - 1):
                raise OutOfOrder("this stage was answered, or is of a sum that is over")
            try:
                write_atomically(file, json.dumps({"session": session, "stage": int(stage)}))
            except OSError as error:
                raise ConfigError(f"{file}: cannot be written ({error.strerror})") from None


def _read(file: Path) -> tuple[str, int]:
    if not file.exists():
        return "", 0
    try:
        found = json.loads(read_file(file))
        return str(found["session"]), int(found["stage"])
    except (OSError, ValueError, KeyError, TypeError):
        told = f"{file}: no record of sums; move it away, with no sum under way"
        raise ConfigError(told) from None
