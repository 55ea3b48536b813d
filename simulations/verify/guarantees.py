"""The guarantees that points state, told apart: an example-level figure must not pass for more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from simulations.results import epsilon_of

Claim = Mapping[str, Any]

LEVELS = {"user": "user-level", "example": "example-level (one window, not a person)"}


def guarantees(point: Claim) -> list[Claim]:
    """What one point states: its own guarantee and, under both units, that of its examples.

    Parameters
    ----------
    point : mapping
        An entry of `results.json`.
    """
    inner = point.get("example")
    if not isinstance(inner, Mapping):
        return [point]
    shared = {name: point.get(name) for name in ("seed", "rounds", "cohort")}
    return [point, {**shared, **inner}]


def private_guarantees(results: Mapping[str, Any]) -> list[Claim]:
    """The guarantees of all points that have noise; those without promise nothing."""
    stated = [claim for point in results["points"] for claim in guarantees(point)]
    return [claim for claim in stated if math.isfinite(epsilon_of(claim["epsilon"]))]


def levels(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Unit and trust of each guarantee, the points' own first; empty without privacy."""
    pairs = [
        (str(claim.get("unit", "not stated")), str(claim.get("trust", "not stated")))
        for claim in private_guarantees(results)
    ]
    return list(dict.fromkeys(pairs))


def level(unit: str) -> str:
    """What an epsilon of this unit must be called; an unknown unit as it stands."""
    return LEVELS.get(unit, f"unit {unit}")


def axis_label(results: Mapping[str, Any]) -> str:
    """What the budget of the curve's horizontal axis is, and of whom: that of the points' own."""
    own = {**results, "points": [{**p, "example": None} for p in results["points"]]}
    found = [f"{level(unit)}, {trust} trust" for unit, trust in levels(own)]
    return f"privacy budget ε, {' and '.join(found)}" if found else "privacy budget ε"


def example_epsilons(results: Mapping[str, Any]) -> dict[float, float]:
    """By the points' own target, the largest example-level epsilon stated beside it."""
    found: dict[float, float] = {}
    for point in results["points"]:
        for inner in guarantees(point)[1:]:
            target = epsilon_of(point["epsilon_target"])
            found[target] = max(found.get(target, 0.0), epsilon_of(inner["epsilon"]))
    return found
