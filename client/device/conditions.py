"""When a device may compute for others: its owner's conditions, `[conditions]` of `device.toml`.

Asked before anything is computed, after the day's policy or before it, never of a sum that has
begun: there others wait. What speaks against it is for the owner's log alone.
"""

from __future__ import annotations

import re
import subprocess
import time as system
from datetime import datetime, time
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

ANY = "any"
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_POWERED = ("Charging", "Full", "Not charging")
_METERED = (1, 3)  # NetworkManager: yes, and guessed yes
_METER = "get-property org.freedesktop.NetworkManager /org/freedesktop/NetworkManager"
_SAMPLE, _PATIENCE = 0.5, 10.0  # seconds


def _checked_hours(text: str) -> str:
    if text != ANY and window(text) is None:
        raise ValueError('expected "any", or two different times of a day as "22:00-06:00"')
    return text


def _full_path(text: str) -> str:
    if text and not Path(text).is_absolute():
        raise ValueError("expected a full path, without arguments")
    return text


def window(hours: str) -> tuple[time, time] | None:
    """The two times of day of `HH:MM-HH:MM`; None if it is no such text, or they are the same."""
    found = _HOURS.fullmatch(hours)
    if not found:
        return None
    first, last, until_hour, until = map(int, found.groups())
    begin, end = time(first, last), time(until_hour, until)
    return None if begin == end else (begin, end)


def within(hours: str, now: datetime) -> bool:
    """Whether it is that time of day; a window whose end is before its beginning spans midnight.

    Wall time decides: an hour that a change of clocks skips is in no window, one that it repeats
    twice in its own.
    """
    told = window(hours)
    if told is None:
        return True
    (begin, end), clock = told, now.time().replace(tzinfo=None)
    return begin <= clock < end if begin < end else clock >= begin or clock < end


class Machine:
    """What the machine tells; another `root` than the system's is for trying.

    Parameters
    ----------
    root : Path
        Where `sys` and `proc` are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def time(self) -> datetime:
        """The local time."""
        return datetime.now()

    def on_battery(self) -> bool:
        """Whether it runs on its battery; one without a battery of its own never does."""
        supplies = sorted((self._root / "sys/class/power_supply").glob("*"))
        told = [{name: _word(each / name) for name in _SUPPLY} for each in supplies]
        if any(one["type"] in ("Mains", "USB") and one["online"] == "1" for one in told):
            return False
        own = [one for one in told if one["type"] == "Battery" and one["scope"] != "Device"]
        return any(one["status"] not in _POWERED for one in own)

    def metered(self) -> bool:
        """Whether NetworkManager takes the network for a metered one; not, where none runs."""
        words = ["busctl", *_METER.split(), "org.freedesktop.NetworkManager", "Metered"]
        try:
            done = subprocess.run(words, capture_output=True, timeout=_PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        kind, _, value = done.stdout.decode("ascii", "replace").strip().partition(" ")
        return kind == "u" and value.isdigit() and int(value) in _METERED

    def busy(self) -> float:
        """The share of its processors at work just now, 0 to 1; measured for half a second."""
        before = self._worked()
        system.sleep(_SAMPLE)
        idle, whole = (after - first for after, first in zip(self._worked(), before, strict=True))
        return 1 - idle / whole if whole > 0 else 0.0

    def allows(self, command: str) -> bool:
        """Whether a program of the owner's ends with 0, within ten seconds; no shell runs it."""
        quiet = subprocess.DEVNULL
        try:
            done = subprocess.run(
                [command], stdin=quiet, stdout=quiet, stderr=quiet, timeout=_PATIENCE, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0

    def _worked(self) -> tuple[int, int]:
        """Ticks of all processors together: idle, and all."""
        line = _text(self._root / "proc/stat").partition("\n")[0].split()[1:9]
        ticks = [int(each) for each in line]
        return sum(ticks[3:5]), sum(ticks)


_SUPPLY = ("type", "online", "scope", "status")


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""


def _word(file: Path) -> str:
    return _text(file).strip()


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Conditions:
    """What must hold for a device to begin a round.

    Attributes
    ----------
    hours : str
        Local times of day, as `22:00-06:00`; `any`: always.
    charging : bool
        Not on battery.
    unmetered : bool
        Not on a network that NetworkManager takes for metered.
    busy : float
        The share of all processors that may be at work for others, above 0; 1: any.
    command : str
        Full path of a program of the owner's that must end with 0; empty: none.
    """

    hours: Annotated[str, AfterValidator(_checked_hours)] = ANY
    charging: bool = True
    unmetered: bool = True
    busy: Annotated[float, Field(gt=0, le=1)] = 1.0
    command: Annotated[str, AfterValidator(_full_path)] = ""

    def objection(self, machine: Machine) -> str:
        """The first that does not hold, in words for the owner; empty if all do."""
        now = machine.time()
        if not within(self.hours, now):
            return f"it is {now:%H:%M}, and its owner allows {self.hours}"
        if self.charging and machine.on_battery():
            return "it runs on battery"
        if self.unmetered and machine.metered():
            return "its network is metered"
        if self.busy < 1 and (share := machine.busy()) > self.busy:
            return f"{share:.0%} of its processors are at work, its owner allows {self.busy:.0%}"
        if self.command and not machine.allows(self.command):
            return f"{self.command} did not end with 0"
        return ""
