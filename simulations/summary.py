"""From the points of a sweep to one line per privacy budget, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.special import stdtrit

from shared.canonical import finite
from simulations.results import Metrics, Point, Tree

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A metric over the points of one budget; what cannot be computed is None."""

    mean: float
    low: float | None
    high: float | None
    std: float | None  # over seeds


@dataclass(frozen=True)
class Entry:
    """All points of one target epsilon together.

    Attributes
    ----------
    epsilon_target, epsilon : float
        What was asked for, and the largest that was spent over the seeds.
    seeds : list
    interval : str
        Over what the intervals are: `"users"`, or `"users and seeds"`.
    metrics : dict of Interval
        By name.
    """

    epsilon_target: float
    epsilon: float
    seeds: list[object]
    interval: str
    metrics: dict[str, Interval]

    def plain(self) -> Tree:
        """As JSON holds it, infinity as `"inf"`."""
        plain: Tree = finite(asdict(self))
        return plain


def summarise(points: Sequence[Point]) -> list[Entry]:
    """One entry per target epsilon, ascending, infinity last.

    Intervals are those of `interval`: over users, and with two seeds or more over users and seeds
    together; none without standard errors over users.
    """
    groups: dict[float, list[Point]] = {}
    for point in points:
        groups.setdefault(point.target, []).append(point)
    return [_entry(target, groups[target]) for target in sorted(groups)]


def interval(
    means: Sequence[float], errors: Sequence[float], users: float, least: float = 0.0
) -> tuple[float, float]:
    """A 95% interval of a mean over people and seeds: what other people, and seeds, would change.

    Two people are added, one at each end of what a person can have, as Bonett and Price (2012) do
    for differences of proportions: without them a few lucky hits among many ties, or very few
    people, would pass for evidence, and a metric of 0 or 1 for certain. With several seeds the half
    is the root of the sum of two squares: over people and between seeds, each with the quantile of
    Student's t of its own degrees of freedom. However much either is of the whole, that holds at
    least 95% (Banerjee, 1960); of two seeds it is wide, as no more is known from two.

    Parameters
    ----------
    means, errors : sequence of float
        Of each seed: the mean over people and its standard error.
    users : float
        How many people, at least 2.
    least : float
        What a person has at the least; at the most it is 1. 0 for a metric, -1 for a difference.
    """
    of, error = np.array(means), np.array(errors)
    squares = users * ((users - 1) * error**2 + of**2)  # summed over people
    centres = (users * of + least + 1) / (users + 2)
    spread = ((squares + least**2 + 1) / (users + 2) - centres**2) / (users + 2)
    # The error of a mean over seeds is at most the mean of their errors.
    people = float(np.sqrt(spread).mean() ** 2)
    half, centre = _quantile(users - 1) ** 2 * people, float(centres.mean())
    if of.size > 1:
        half += _quantile(of.size - 1) ** 2 * float(of.var(ddof=1)) / of.size
    half = math.sqrt(half)
    return max(centre - half, least), min(centre + half, 1.0)


def _quantile(freedom: float) -> float:
    """Student's t, with so many degrees of freedom."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def interval_of(metrics: Metrics, name: str) -> tuple[float, float] | None:
    """Of one metric of one model, over users; None without a standard error of several."""
    error, users = metrics.get(f"{name}_se"), metrics.get("users", 0.0)
    if name not in metrics or error is None or users < 2:
        return None
    return interval([metrics[name]], [error], users)


def _entry(target: float, points: Sequence[Point]) -> Entry:
    names = [name for name in points[0].metrics if name != "users" and not name.endswith("_se")]
    return Entry(
        epsilon_target=target,
        epsilon=max(point.epsilon for point in points),
        seeds=[point.get("seed") for point in points],
        interval="users and seeds" if len(points) > 1 else "users",
        metrics={name: _interval(name, points) for name in names},
    )


def _interval(name: str, points: Sequence[Point]) -> Interval:
    found = [point.metrics for point in points if name in point.metrics]
    means = [float(metrics[name]) for metrics in found]
    mean, std = float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else None
    if any(interval_of(metrics, name) is None for metrics in found):
        return Interval(mean, None, None, std)
    users = min(metrics["users"] for metrics in found)
    low, high = interval(means, [metrics[f"{name}_se"] for metrics in found], users)
    return Interval(mean, low, high, std)
