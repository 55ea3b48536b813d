"""One finding of the doctor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missing", "wrong"]


@dataclass(frozen=True)
class Check:
    """What was looked at, and what to do about it.

    Attributes
    ----------
    name : str
    status : {"ok", "missing", "wrong"}
    found : str
        What is there, in words.
    todo : str
        What helps; empty if nothing needs to be done.
    needed : bool
        Whether a simulation cannot run unless this is ok.
    """

    name: str
    status: Status
    found: str
    todo: str = ""
    needed: bool = True


def can_run(checks: Iterable[Check]) -> bool:
    """Whether everything that a simulation needs is ok."""
    return all(check.status == "ok" for check in checks if check.needed)


def readable(size: float) -> str:
    """Bytes in words, such as `3.2 GB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"
