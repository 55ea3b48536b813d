"""From the points of a sweep to one line per privacy budget, with intervals.

A point is one trained model: one target epsilon, one seed. Infinity may be the string `"inf"`, as
in `results.json`, or the float; what leaves here is ready for JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from shared.errors import DataError

Point = Mapping[str, Any]
CONFIDENCE = 0.95
NORMAL_QUANTILE = 1.96  # of the two-sided interval over users


def epsilon_of(value: float | str) -> float:
    """An epsilon as a float; the string `"inf"` is infinity.

    Raises
    ------
    DataError
        If the value is not a number above zero.
    """
    try:
        epsilon = float(value)
    except (TypeError, ValueError):
        epsilon = math.nan
    if not epsilon > 0:
        raise DataError(f'epsilon = {value!r}; expected a number above 0, or "inf"')
    return epsilon


def summarise(points: Sequence[Point]) -> list[dict[str, Any]]:
    """One entry per target epsilon, ascending, infinity last.

    With two seeds or more the interval is a 95% Student-t interval of the mean over seeds: how
    much training and its noise vary, on the same users. With one seed it is the mean over users
    +- 1.96 standard errors: how much the choice of users varies. Both are cut to [0, 1], where
    every ranking metric lies.

    Parameters
    ----------
    points : sequence of mapping
        Entries of `results.json`, with `epsilon_target`, `epsilon`, `seed` and `metrics`.

    Returns
    -------
    list of dict
        `epsilon_target` and `epsilon` (the largest over seeds; infinity as `"inf"`), `seeds`,
        `interval` (`"seeds"` or `"users"`) and `metrics`: for each name `mean`, `low`, `high` and
        `std` over seeds. What cannot be computed is None.
    """
    groups: dict[float, list[Point]] = {}
    for point in points:
        groups.setdefault(epsilon_of(point["epsilon_target"]), []).append(point)
    return [_entry(target, groups[target]) for target in sorted(groups)]


def rank_correlation(points: Sequence[Point], metric: str = "hr@10") -> float:
    """Spearman's rho between target epsilon and a metric, over all points of all seeds.

    Infinity ranks last. NaN where there is no rank to correlate: fewer than two different
    epsilons or values.
    """
    epsilons = [epsilon_of(point["epsilon_target"]) for point in points]
    values = [float(point["metrics"][metric]) for point in points]
    if len(set(epsilons)) < 2 or len(set(values)) < 2:
        return math.nan
    # Ranks first: the difference of two infinities would be NaN.
    return float(stats.spearmanr(stats.rankdata(epsilons), stats.rankdata(values)).statistic)


def _entry(target: float, points: Sequence[Point]) -> dict[str, Any]:
    names = [name for name in points[0]["metrics"] if name != "users" and not name.endswith("_se")]
    return {
        "epsilon_target": _plain(target),
        "epsilon": _plain(max(epsilon_of(point["epsilon"]) for point in points)),
        "seeds": [point.get("seed") for point in points],
        "interval": "seeds" if len(points) > 1 else "users",
        "metrics": {name: _interval(name, points) for name in names},
    }


def _interval(name: str, points: Sequence[Point]) -> dict[str, float | None]:
    values = np.array(
        [point["metrics"][name] for point in points if name in point["metrics"]], dtype=np.float64
    )
    mean = float(values.mean())
    std: float | None = None
    half: float | None = None
    if values.size > 1:
        std = spread = float(values.std(ddof=1))
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, df=values.size - 1))
        half = quantile * spread / math.sqrt(values.size)
    elif f"{name}_se" in points[0]["metrics"]:
        half = NORMAL_QUANTILE * float(points[0]["metrics"][f"{name}_se"])
    if half is None:
        return {"mean": mean, "low": None, "high": None, "std": std}
    return {"mean": mean, "low": max(mean - half, 0.0), "high": min(mean + half, 1.0), "std": std}


def _plain(epsilon: float) -> float | str:
    """JSON has no infinity."""
    return epsilon if math.isfinite(epsilon) else "inf"
