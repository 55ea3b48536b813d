"""`starling evaluate --off-policy`: what a policy is worth, from a log of another."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import typer

from shared.canonical import document
from simulations.offpolicy.effects import Effects
from simulations.offpolicy.estimators import NAMES
from simulations.offpolicy.feedback import LoggedFeedback
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


_SHOWN = 10  # items


def show_effects(found: Effects, log: LoggedFeedback, *, as_json: bool) -> None:
    """Print what showing each item does: all of them as a document, the best as a table."""
    order = np.argsort(-found.effects, kind="stable").tolist()
    rows = [
        {
            "item": log.item_ids[item],
            **{name: _number(getattr(found, field)[item]) for name, field in _FIELDS.items()},
        }
        for item in order
    ]
    looked_at = dict(zip(map(str, log.place_names), found.looked_at.tolist(), strict=True))
    if as_json:
        typer.echo(document({"log": log.name, "looked_at": looked_at, "items": rows}))
        return
    by_rate = {item: rank for rank, item in enumerate(np.argsort(-np.nan_to_num(found.rates)), 1)}
    table = [
        (
            log.item_ids[item],
            f"{found.effects[item]:.4f}",
            f"{found.low[item]:.4f} to {found.high[item]:.4f}",
            f"{found.rates[item]:.4f}",
            f"{by_rate[item]}",
            f"{found.shown[item]:,}",
        )
        for item in order[:_SHOWN]
    ]
    columns = ("item", *figures("effect", "95% interval", "click rate", "its rank", "shown"))
    show_table(columns, table, f"Clicks where an item is looked at first, from {log.name}")
    told = ", ".join(f"{place} {chance:.2f}" for place, chance in looked_at.items())
    typer.echo(f"Places are looked at, of the first one: {told}.")


def _number(value: np.generic) -> int | float | None:
    """As JSON has it; null where there is none."""
    number: int | float = value.item()
    return None if np.isnan(number) else number


_FIELDS = {"effect": "effects", "low": "low", "high": "high", "rate": "rates", "shown": "shown"}


def page(found: Valued, log: Path) -> dict[str, Any]:
    """What is printed, as one document."""
    return {"log": str(log), **asdict(found), "draws": DRAWS, "warnings": found.warnings}


def _ends(one: Estimate) -> tuple[str, str]:
    return f"{one.value:.5f}", f"{one.low:.5f} to {one.high:.5f}"
