"""`starling doctor`: what this machine has, what is missing, and what to do about it.

Only the standard library is imported here: the doctor must run where nothing else does. What needs
the packages themselves is asked of processes of their own, see `probe`.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Iterator

from .installation import installation_checks
from .machine import machine_checks
from .packages import package_checks
from .probe import Answers, ask
from .show import Check, can_run, printable, show

_HELP = """Usage: starling doctor [OPTIONS]

  Check what this machine has, and say what to do. Exit code 0 if simulations can run, else 2.

Options:
  --json      One JSON document.
  -h, --help  Show this message and exit.
"""
_OPTIONS = ("--json", "-h", "--help")
_GROUPS: tuple[Callable[[Answers], Iterator[Check]], ...] = (
    package_checks,
    machine_checks,
    installation_checks,
)


def main(arguments: list[str]) -> int:
    """Look at everything and tell it.

    Returns
    -------
    int
        Exit code: 0 if the main job, a simulation, can run; else 2.
    """
    unknown = [word for word in arguments if word not in _OPTIONS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], _OPTIONS, n=1, cutoff=0.75)
        meant = f"; did you mean {near[0]}?" if near else ""
        word, option = printable(unknown[0]), unknown[0].startswith("-")
        told = f"No such option: {word}" if option else f"Got unexpected extra argument ({word})"
        sys.stderr.write(f"error: {told}{meant} (see starling doctor --help)\n")
        return 2
    if set(arguments) & {"-h", "--help"}:
        sys.stdout.write(_HELP)
        return 0
    if "--json" in arguments:
        checks = list(examine())
        document = {"ok": can_run(checks), "checks": [vars(check) for check in checks]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        checks = show(examine())
    return 0 if can_run(checks) else 2


def examine() -> Iterator[Check]:
    """Every check as it is made; one that fails itself is told like any other finding."""
    answers = ask()
    for group in _GROUPS:
        yield from _guarded(group, answers)


def _guarded(group: Callable[[Answers], Iterator[Check]], answers: Answers) -> Iterator[Check]:
    try:
        yield from group(answers)
    except Exception as error:  # whatever a broken machine raises: the other checks go on
        yield Check(
            group.__name__.replace("_", " "),
            "wrong",
            f"could not be looked at: {type(error).__name__}: {error}",
        )
