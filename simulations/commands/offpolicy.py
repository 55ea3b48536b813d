"""`starling evaluate --off-policy`: what a policy is worth, from a log of another."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from shared.canonical import document
from simulations.offpolicy.estimators import NAMES
from simulations.offpolicy.value import DRAWS, Estimate, Valued
from simulations.show import figures, show_table


def show_value(found: Valued, log: Path, *, as_json: bool) -> None:
    """Print what a policy is worth."""
    if as_json:
        typer.echo(document(page(found, log)))
        return
    rows: list[tuple[str, ...] | None]
    rows = [(NAMES[name], *_ends(one)) for name, one in found.estimates.items()]
    rows += [None, ("the policy that logged, by its own clicks", *_ends(found.logged))]
    columns = ("estimator", *figures("value", "95% interval"))
    show_table(columns, rows, f"Clicks per shown item, by policy: {found.policy}; from {log}")
    checks = [
        ("rows", f"{found.rows:,}, of {found.people:,} people (where none are named, rows)"),
        ("worth", f"{found.effective_rows:,.0f} rows of the policy itself (effective sample size)"),
        ("largest weight", f"{found.largest_weight:,.2f}"),
        ("mean weight", " ".join(_ends(found.mean_weight)) + "; 1 where propensities are right"),
        ("never shown at their place", f"{found.unsupported:.2%} of the policy's choices"),
        ("switch", f"at weights above {found.switch:,.2f} the model alone counts (switch-DR)"),
    ]
    show_table(("of", "value"), checks, pairs=True)
    typer.echo(
        f"Intervals: percentiles of {DRAWS:,} bootstrap draws of people; that of DM is right only "
        "where its model of clicks is."
    )
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)


def page(found: Valued, log: Path) -> dict[str, Any]:
    """What is printed, as one document."""
    return {"log": str(log), **asdict(found), "draws": DRAWS, "warnings": found.warnings}


def _ends(one: Estimate) -> tuple[str, str]:
    return f"{one.value:.5f}", f"{one.low:.5f} to {one.high:.5f}"
