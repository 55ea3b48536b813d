"""`starling verify --report`: the run's page, beginning with what was found of the run."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import typer

from shared.errors import ConfigError
from shared.files import write_once
from simulations.report.page import render
from simulations.report.standing import Standing
from simulations.verify.run import AGREES, REFUTED, VerifyReport

_NOT_OURS = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)


def check_new(file: Path, run: Path) -> None:
    """Refuse a name that is taken, that is nowhere, or that is in what is being checked.

    Raises
    ------
    ConfigError
    """
    if file.exists() or file.is_symlink():
        raise ConfigError(f"--report {file}: is there already; give a new file")
    if not file.parent.is_dir():
        raise ConfigError(f"--report {file}: there is no folder {file.parent}")
    if run.resolve() in file.resolve().parents:
        raise ConfigError(
            f"--report {file}: in the run's folder, which holds what was sealed and nothing else; "
            "give a file elsewhere"
        )


def write_page(file: Path, report: VerifyReport, found: Sequence[str]) -> None:
    """Write it, and nothing if the run is refuted and states what no page can show.

    Raises
    ------
    ConfigError
        If the file has appeared since.
    """
    standing = Standing(
        verdict=_verdict(report),
        when=datetime.now(UTC),
        key=report.key,
        whose=report.signer,
        by=f"Starling {importlib.metadata.version('starling')}",
        missing=_missing(report),
        found=found,
    )
    try:
        page = render(report.results, standing)
    except _NOT_OURS:
        if report.exit_code != REFUTED:
            raise
        typer.echo(f"--report {file}: not written; no page can show what this run states", err=True)
        return
    if not write_once(file, page):
        raise ConfigError(f"--report {file}: is there already; give a new file")


def _verdict(report: VerifyReport) -> str:
    return {AGREES: "verified", REFUTED: "refuted"}.get(report.exit_code, "not shown")


def _missing(report: VerifyReport) -> list[str]:
    """Why nothing disagrees and it is not shown all the same."""
    why = {
        "nobody vouches for the key of its seal": not report.vouched,
        "the run is incomplete": not report.complete,
        "some ledgers are on devices alone": not all(row.record for row in report.rows),
        "some of its figures are not told": any(row.withheld for row in report.rows),
    }
    return [words for words, so in why.items() if so]
