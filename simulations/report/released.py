"""What may be told of accuracy: figures that were released with noise, from the budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.privacy.contribution.evaluation import METRIC_NAMES
from simulations.report.tables import MISSING, Row, number, ordered
from simulations.results import epsilon_of

Results = Mapping[str, Any]


def released_rows(results: Results) -> list[Row]:
    """One row per release of private metrics: which model's, value and interval of each metric."""
    return [
        {
            "target": number(epsilon_of(point["epsilon_target"])),
            "seed": number(point.get("seed")),
            "round": number(found.get("round")),
            "users": number(round(float(found["users"]))),
            "metrics": {name: _cell(found.get(name)) for name in METRIC_NAMES},
        }
        for point, found in _releases(results)
    ]


def released_lines(results: Results) -> list[str]:
    """One line per model, of its last release: what an operator may tell others."""
    last = {
        (epsilon_of(point["epsilon_target"]), str(point.get("seed"))): found
        for point, found in _releases(results)
    }
    return [
        f"Released at epsilon {epsilon:g}, seed {seed}, on validation items: "
        + ", ".join(_words(name, found[name]) for name in METRIC_NAMES)
        + " (95% intervals)."
        for (epsilon, seed), found in last.items()
    ]


def popularity_rows(results: Results) -> list[Row]:
    """One row per model that started from a released histogram: how well that alone ranks."""
    rows: list[Row] = []
    for point in ordered(results):
        found = (point.get("references") or {}).get("popularity_private")
        if found:
            metrics = found["metrics"]
            rows.append(
                {
                    "target": number(epsilon_of(point["epsilon_target"])),
                    "seed": number(point.get("seed")),
                    "noise": number(point.get("histogram_noise_multiplier")),
                    "private": {name: f"{metrics[name]:.3f}" for name in METRIC_NAMES},
                    "model": {name: f"{point['metrics'][name]:.3f}" for name in METRIC_NAMES},
                }
            )
    return rows


def _releases(results: Results) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for point in ordered(results):
        for found in (point.get("released_metrics") or {}).get("releases", ()):
            yield point, found


def _cell(found: Mapping[str, Any] | None) -> dict[str, str]:
    if found is None:
        return {"mean": MISSING, "interval": ""}
    return {
        "mean": f"{found['value']:.3f}",
        "interval": f"{found['low']:.3f} to {found['high']:.3f}",
    }


def _words(name: str, found: Mapping[str, Any]) -> str:
    return f"{name.upper()} {found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
