"""What a person sees at the end of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from simulations.report.released import released_lines
from simulations.results import epsilon_of, summarise
from simulations.verify.guarantees import example_epsilons, level, private_guarantees

_METRICS = ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10")


def print_outcome(results: dict[str, Any], directory: Path, console: Console | None = None) -> None:
    """The curve as a table, what its epsilons protect, and where everything lies."""
    console = console or Console()
    console.print(_table(results))
    for line in promises(results):
        console.print(line, highlight=False, soft_wrap=True)
    console.print("Metrics are the evaluator's, not released.", highlight=False, soft_wrap=True)
    for line in released_lines(results):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    if (directory / "personal").is_dir():
        own = "not noised; whoever publishes it publishes what devices keep for themselves"
        console.print(
            f"  {directory / 'personal'}  {own}", highlight=False, soft_wrap=True, markup=False
        )
    for file in ("report.html", "curve.png", "results.json"):
        console.print(f"  {directory / file}", highlight=False, soft_wrap=True, markup=False)
    check = f"Check it: starling verify {directory}"
    console.print(check, highlight=False, soft_wrap=True, markup=False)


def promises(results: dict[str, Any]) -> list[str]:
    """One line for each guarantee that the private points give: its unit first."""
    lines = [
        f"{level(str(claim['unit'])).capitalize()} epsilon{_together(claim)} ({claim['relation']}, "
        f"delta {claim['delta']:g}, {claim['trust']} trust){_against(claim)}."
        for claim in private_guarantees(results)
    ]
    return list(dict.fromkeys(lines)) or ["Nothing is protected: no point is private."]


def _against(claim: Mapping[str, Any]) -> str:
    return f", against {claim['adversary']}" if claim.get("adversary") else ""


def _together(claim: Mapping[str, Any]) -> str:
    size = claim.get("group_size", 1)
    return f" of groups of {size}" if size != 1 else ""


def _table(results: dict[str, Any]) -> Table:
    data, beside = results["data"], example_epsilons(results)
    table = Table(title=f"{data['name']}: {data['users']} users, {data['items']} items, test")
    table.add_column(_budget_heading(results))
    if beside:
        table.add_column("epsilon, example", justify="right")
    for name in ("HR@10", "NDCG@10", "full HR@10", "full NDCG@10"):
        table.add_column(name, justify="right")
    gap = [""] if beside else []
    for name, reference in results["references"].items():
        metrics = reference["metrics"]
        table.add_row(name.replace("_", " "), *gap, *(f"{metrics[key]:.3f}" for key in _METRICS))
    table.add_section()
    for entry in summarise(results["points"]):
        target = epsilon_of(entry["epsilon_target"])
        inner = [f"{beside[target]:.3g}" if target in beside else "-"] if beside else []
        cells = (_interval(entry["metrics"][key]) for key in _METRICS)
        table.add_row(f"{target:g}", *inner, *cells)
    return table


def _budget_heading(results: dict[str, Any]) -> str:
    """The unit of the points' own epsilon; where there are two, the first is the points' own."""
    private = private_guarantees(results)
    return f"epsilon, {private[0]['unit']}" if private else "epsilon"


def _interval(metric: dict[str, float | None]) -> str:
    mean, low, high = metric["mean"], metric["low"], metric["high"]
    if low is None or high is None:
        return f"{mean:.3f}"
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
