"""Rounds of a day, and a clock that does not go backwards.

Kept in the device's state folder: the latest time at which the device was asked, and how many
rounds it answered on that day (UTC). Time is the later of the system's clock and that
record. A clock that is set back therefore neither gives a new day's rounds nor revives a policy
that has expired: the day goes on until the clock has caught up. A clock that once was far ahead
stops the device until then, or until its owner removes the file, which is told in the message.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.canonical import LARGEST
from shared.errors import ConfigError
from shared.files import read_record, write_atomically

FILE = "clock.json"
_TOLERATED = timedelta(hours=1)  # what a clock's usual correction takes back


def now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


class Days:
    """The clock and the day's rounds of one device.

    Parameters
    ----------
    state : Path
        The device's folder.
    clock : callable
        The time with its zone.
    """

    def __init__(self, state: Path, clock: Callable[[], datetime] = now) -> None:
        self._file = state / FILE
        self._clock = clock

    def time(self) -> datetime:
        """Now, and never before what was `now` already.

        Raises
        ------
        ConfigError
            If the record is damaged.
        """
        return max(self._clock().astimezone(UTC), self._latest())

    def went_back(self) -> str:
        """What to tell the owner if the clock is clearly behind; else empty."""
        behind = self._latest() - self._clock()
        if behind < _TOLERATED:
            return ""
        return f"; the clock is behind {self._latest():%Y-%m-%d %H:%M} UTC: set it, or remove " + (
            str(self._file)
        )

    def rounds(self) -> int:
        """How many rounds were answered on the day of `time`."""
        record = self._record()
        same = self.time().date() == self._latest().date()
        return int(record["rounds"]) if record and same else 0

    def see(self) -> None:
        """Keep the time, whatever is answered: what has expired once has expired for good."""
        if self.time() > self._latest():
            self._write(self.rounds())

    def count(self) -> None:
        """One round more; on disk when this returns, so call it before anything is answered."""
        self._write(self.rounds() + 1)

    def _write(self, rounds: int) -> None:
        latest = self.time().isoformat()
        write_atomically(self._file, json.dumps({"latest": latest, "rounds": rounds}))

    def _latest(self) -> datetime:
        record = self._record()
        return (
            datetime.fromisoformat(record["latest"]) if record else datetime.min.replace(tzinfo=UTC)
        )

    def _record(self) -> dict[str, str]:
        if not self._file.exists():
            return {}
        record = read_record(self._file, ("latest", "rounds"))
        try:
            latest = datetime.fromisoformat(record["latest"])
            latest.astimezone(UTC)  # which a year's first or last day may leave
            intact = latest.tzinfo and 0 <= record["rounds"] < LARGEST
        except (TypeError, ValueError, OverflowError):
            intact = None
        if not intact:
            raise ConfigError(f"{self._file}: damaged; restore it, or remove it to start a new day")
        return record
