"""From the points of a sweep to one line per privacy budget, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from shared.canonical import finite
from simulations.results import Point, Tree

CONFIDENCE = 0.95
NORMAL_QUANTILE = 1.96  # of the two-sided interval over users


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
        `"seeds"` or `"users"`: over what the intervals are.
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

    With two seeds or more the interval is a 95% Student-t interval of the mean over seeds: how
    much training and its noise vary, on the same users. With one seed it is the mean over users
    +- 1.96 standard errors: how much the choice of users varies. Both are cut to [0, 1], where
    every ranking metric lies.
    """
    groups: dict[float, list[Point]] = {}
    for point in points:
        groups.setdefault(point.target, []).append(point)
    return [_entry(target, groups[target]) for target in sorted(groups)]


def rank_correlation(points: Sequence[Point], metric: str = "hr@10") -> float:
    """Spearman's rho between target epsilon and a metric, over all points of all seeds.

    Infinity ranks last. NaN where there is no rank to correlate: fewer than two different
    epsilons or values.
    """
    epsilons = [point.target for point in points]
    values = [float(point.metrics[metric]) for point in points]
    if len(set(epsilons)) < 2 or len(set(values)) < 2:
        return math.nan
    # Ranks first: the difference of two infinities would be NaN.
    return float(stats.spearmanr(stats.rankdata(epsilons), stats.rankdata(values)).statistic)


def _entry(target: float, points: Sequence[Point]) -> Entry:
    names = [name for name in points[0].metrics if name != "users" and not name.endswith("_se")]
    return Entry(
        epsilon_target=target,
        epsilon=max(point.epsilon for point in points),
        seeds=[point.get("seed") for point in points],
        interval="seeds" if len(points) > 1 else "users",
        metrics={name: _interval(name, points) for name in names},
    )


def _interval(name: str, points: Sequence[Point]) -> Interval:
    values = np.array(
        [point.metrics[name] for point in points if name in point.metrics], dtype=np.float64
    )
    mean = float(values.mean())
    std: float | None = None
    half: float | None = None
    if values.size > 1:
        std = spread = float(values.std(ddof=1))
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, df=values.size - 1))
        # Seeds that all give one value say nothing of how far another would be.
        half = quantile * spread / math.sqrt(values.size) if len({*values}) > 1 else None
    elif f"{name}_se" in points[0].metrics:
        half = NORMAL_QUANTILE * float(points[0].metrics[f"{name}_se"])
    if half is None:
        return Interval(mean, None, None, std)
    return Interval(mean, max(mean - half, 0.0), min(mean + half, 1.0), std)
