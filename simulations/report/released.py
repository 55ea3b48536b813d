"""What may be told of accuracy: figures that were released with noise, from the budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from shared.privacy.contribution.evaluation import METRIC_NAMES
from simulations.report.tables import Row, cell, number, ordered
from simulations.results import Metrics, Point, Reference, Results, Tree


def released_rows(results: Results) -> list[Row]:
    """One row per release of private metrics: which model's, value and interval of each metric."""
    return [
        {
            "target": number(point.target),
            "seed": number(point.get("seed")),
            "round": number(found.get("round")),
            "users": number(round(cast("float", found["users"]))),
            "metrics": {name: _cell(_figures(found, name)) for name in METRIC_NAMES},
        }
        for point, found in _releases(results)
    ]


def released_lines(results: Results) -> list[str]:
    """One line per model, of its last release: what an operator may tell others."""
    last = {point.order: found for point, found in _releases(results)}
    return [
        f"Released at epsilon {epsilon:g}, seed {seed}, on validation items: "
        + ", ".join(_words(name, _figures(found, name)) for name in METRIC_NAMES)
        + " (95% intervals)."
        for (epsilon, seed), found in last.items()
    ]


def popularity_rows(results: Results) -> list[Row]:
    """One row per model that started from a released histogram: how well that alone ranks."""
    rows: list[Row] = []
    for point in ordered(results):
        found = point.table("references").get("popularity_private")
        if found:
            metrics = Reference(cast("Tree", found)).metrics
            rows.append(
                {
                    "target": number(point.target),
                    "seed": number(point.get("seed")),
                    "noise": number(point.get("histogram_noise_multiplier")),
                    "private": {name: f"{metrics[name]:.3f}" for name in METRIC_NAMES},
                    "model": {name: f"{point.metrics[name]:.3f}" for name in METRIC_NAMES},
                }
            )
    return rows


def _releases(results: Results) -> Iterator[tuple[Point, Tree]]:
    for point in ordered(results):
        for found in point.released:
            yield point, found


def _figures(found: Tree, name: str) -> Metrics:
    """Value and interval of one metric; empty if it was not released."""
    return cast("Metrics", found.get(name) or {})


def _cell(found: Metrics) -> dict[str, str]:
    return cell(found.get("value"), found.get("low"), found.get("high"))


def _words(name: str, found: Metrics) -> str:
    return f"{name.upper()} {found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
