"""A finding of the doctor, and findings as one line each."""

from __future__ import annotations

import runpy
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
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


def printable(text: str) -> str:
    """See `shared.printable`, read where it stands: our packages may not be found."""
    file = Path(__file__).resolve().parents[2] / "shared" / "printable.py"
    return str(runpy.run_path(str(file))["printable"](text))


def show(checks: Iterable[Check]) -> list[Check]:
    """Print every finding when it is there and, last, whether a simulation can run.

    Nothing but the standard library is used: a table that needs a package would be missing where
    it is needed most.
    """
    shown = []
    for check in checks:
        advice = f" -> {check.todo}" if check.todo else ""
        _say(printable(f"{_word(check):<8} {check.name}: {check.found}{advice}"))
        shown.append(check)
    _say(_verdict(shown))
    return shown


def _say(line: str) -> None:
    if sys.stdout is None:  # closed by whoever started us
        return
    if sys.stdout.isatty():  # words stay whole, and long paths
        width = shutil.get_terminal_size().columns
        wrap = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
        wrap.subsequent_indent = " " * 9
        line = wrap.fill(line)
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _word(check: Check) -> str:
    """A thing that is missing and not needed is no reason to worry."""
    return check.status if check.needed or check.status == "ok" else f"({check.status})"


def _verdict(checks: Sequence[Check]) -> str:
    if can_run(checks):
        return "Simulations can run here."
    names = [check.name for check in checks if check.needed and check.status != "ok"]
    return f"Simulations cannot run here until this is mended: {', '.join(names)}."
