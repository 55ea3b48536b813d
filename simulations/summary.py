"""From the points of a sweep to one line per privacy budget, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

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
    people, would pass for evidence, and a metric of 0 or 1 for certain. The variance between seeds
    is added to that over people. Student's t, with Satterthwaite's degrees of freedom.

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
    seeds = float(of.var(ddof=1) / of.size) if of.size > 1 else 0.0
    parts = people**2 / (users - 1) + (seeds**2 / (of.size - 1) if seeds else 0.0)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, (people + seeds) ** 2 / parts))
    half, centre = quantile * math.sqrt(people + seeds), float(centres.mean())
    return max(centre - half, least), min(centre + half, 1.0)


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
