"""A finding of the doctor; findings as a table on a terminal, elsewhere as one line each."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Status = Literal["ok", "missing", "wrong"]
_STYLES = {"ok": "green", "missing": "yellow", "wrong": "red"}


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


def show(checks: Sequence[Check]) -> None:
    """Print the findings and, last, whether a simulation can run."""
    checks = [
        replace(at, found=printable(at.found), todo=printable(at.todo), name=printable(at.name))
        for at in checks
    ]
    if not (sys.stdout is not None and sys.stdout.isatty() and _table(checks)):
        _lines(checks)
    _say(_verdict(checks))


def _say(line: str) -> None:
    if sys.stdout is not None:  # closed by whoever started us
        sys.stdout.write(f"{line}\n")


def _lines(checks: Sequence[Check]) -> None:
    for check in checks:
        advice = f" -> {check.todo}" if check.todo else ""
        _say(f"{_word(check):<8} {check.name}: {check.found}{advice}")


def _word(check: Check) -> str:
    """A thing that is missing and not needed is no reason to worry."""
    return check.status if check.needed or check.status == "ok" else f"({check.status})"


def _table(checks: Sequence[Check]) -> bool:
    """Draw a table; False where rich is missing or broken."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except Exception:  # a broken package may raise anything: plain lines follow
        return False
    table = Table()
    for column in ("", "what", "found", "what to do"):
        table.add_column(column)
    for check in checks:
        style = _STYLES[check.status] if check.needed else "dim"
        word = Text(_word(check), style=style)
        table.add_row(word, Text(check.name), Text(check.found), Text(check.todo))
    Console().print(table)
    return True


def _verdict(checks: Sequence[Check]) -> str:
    if can_run(checks):
        return "Simulations can run here."
    names = [check.name for check in checks if check.needed and check.status != "ok"]
    return f"Simulations cannot run here until this is mended: {', '.join(names)}."
