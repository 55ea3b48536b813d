"""Alterations of a run that several tests of `starling verify` make."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulations.verify.run import verify_run
from tests.support.privacy.ledgers import devices_folder, load, save, unfinished

Attack = Callable[[Path], None]


def said(run: Path) -> str:
    report = verify_run(run)
    assert not report.ok
    return "\n".join([*report.problems, *(row.reason for row in report.rows)])


def device(run: Path, user: int = 0) -> Path:
    return devices_folder(run, 2.0) / f"{user}.jsonl"


def claim(inner: str | None = None, **changes: Any) -> Attack:
    def attack(run: Path) -> None:
        results = load(run)
        point = results["points"][0]
        (point if inner is None else point[inner]).update(changes)
        save(run, results)

    return attack


def without(name: str, inner: str | None = None) -> Attack:
    def attack(run: Path) -> None:
        results = load(run)
        point = results["points"][0]
        del (point if inner is None else point[inner])[name]
        save(run, results)

    return attack


def interrupt(run: Path) -> Path:
    """As if no point had been finished yet."""
    save(run, unfinished(load(run), []))
    return run
