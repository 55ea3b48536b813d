"""What a person sees at the end of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from simulations.summary import summarise

_METRICS = ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10")


def print_outcome(results: dict[str, Any], directory: Path) -> None:
    """The curve as a table, and where everything lies."""
    data = results["data"]
    console = Console()
    table = Table(title=f"{data['name']}: {data['users']} users, {data['items']} items, test")
    table.add_column("epsilon")
    for name in ("HR@10", "NDCG@10", "full HR@10", "full NDCG@10"):
        table.add_column(name, justify="right")
    for name, reference in results["references"].items():
        metrics = reference["metrics"]
        table.add_row(name.replace("_", " "), *(f"{metrics[key]:.3f}" for key in _METRICS))
    table.add_section()
    for entry in summarise(results["points"]):
        cells = (_interval(entry["metrics"][key]) for key in _METRICS)
        table.add_row(
            f"{entry['epsilon_target']:g}"
            if isinstance(entry["epsilon_target"], float)
            else str(entry["epsilon_target"]),
            *cells,
        )
    console.print(table)
    point = results["points"][0]
    console.print(
        f"{point['unit'].capitalize()}-level ({point['relation']}, delta {point['delta']:g}, "
        f"{point['trust']} trust); "
        "metrics are the evaluator's, not released.",
        highlight=False,
        soft_wrap=True,
    )
    for file in ("report.html", "curve.png", "results.json"):
        console.print(f"  {directory / file}", highlight=False, soft_wrap=True)
    console.print(f"Check it: starling verify {directory}", highlight=False, soft_wrap=True)


def _interval(metric: dict[str, float | None]) -> str:
    mean, low, high = metric["mean"], metric["low"], metric["high"]
    if low is None or high is None:
        return f"{mean:.3f}"
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
