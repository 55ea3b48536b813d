"""Intervals over seeds and users, and the rank correlation of a sweep."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from shared.errors import DataError
from simulations.results import Point, epsilon_of
from simulations.summary import Interval, rank_correlation, summarise


def point(target, value, seed=0, spent=None, **metrics):
    return Point(
        {
            "epsilon_target": target,
            "epsilon": spent or target,
            "seed": seed,
            "metrics": {"hr@10": value, "hr@10_se": 0.01, "users": 100.0, **metrics},
        }
    )


def test_one_entry_per_epsilon_in_order_with_infinity_last_and_ready_for_json():
    entries = summarise([point("inf", 0.7), point(8.0, 0.5), point(1, 0.3), point(8.0, 0.6, 1)])
    summary = [entry.plain() for entry in entries]
    assert [entry["epsilon_target"] for entry in summary] == [1.0, 8.0, "inf"]
    assert [entry["seeds"] for entry in summary] == [[0], [0, 1], [0]]
    assert [entry["interval"] for entry in summary] == ["users", "seeds", "users"]
    json.dumps(summary, allow_nan=False)


def test_the_interval_over_seeds_is_students():
    values = [0.50, 0.52, 0.57]
    (entry,) = summarise([point(8, value, seed) for seed, value in enumerate(values)])
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    metric = entry.metrics["hr@10"]
    assert metric.mean == pytest.approx(np.mean(values))
    assert (metric.low, metric.high) == (pytest.approx(low), pytest.approx(high))
    assert metric.std == pytest.approx(np.std(values, ddof=1))


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_there_is_no_interval_of_no_width(seeds):
    """All users were hit, or all seeds gave the same: nothing says how far another would be."""
    alike = {"full_hr@10": 1.0}
    (entry,) = summarise([point(8, 0.1 * seed, seed, **alike) for seed in range(seeds)])
    assert (entry.metrics["full_hr@10"].low, entry.metrics["full_hr@10"].high) == (None, None)
    assert entry.metrics["hr@10"].low is not None


def test_the_interval_of_one_seed_is_over_users_and_missing_without_a_standard_error():
    (entry,) = summarise([point(8, 0.5, **{"ndcg@10": 0.3})])
    hit = entry.metrics["hr@10"]
    assert (hit.low, hit.high) == (pytest.approx(0.4804), pytest.approx(0.5196))
    assert entry.metrics["ndcg@10"] == Interval(mean=0.3, low=None, high=None, std=None)
    assert set(entry.metrics) == {"hr@10", "ndcg@10"}


def test_an_interval_never_leaves_the_range_of_the_metric():
    (entry,) = summarise([point(8, 0.05, 0), point(8, 0.95, 1)])
    assert (entry.metrics["hr@10"].low, entry.metrics["hr@10"].high) == (0.0, 1.0)


def test_the_largest_epsilon_of_the_seeds_is_reported():
    points = [point(8, 0.5), point(8, 0.5, 1, spent=7.5)]
    assert summarise(points)[0].epsilon == 8.0
    points.append(point(8, 0.5, 2, spent="inf"))
    assert summarise(points)[0].plain()["epsilon"] == "inf"


def test_rank_correlation_counts_infinity_as_the_largest_epsilon():
    points = [point("inf", 0.9), point(1, 0.2), point(8, 0.5), point(2, 0.3)]
    assert rank_correlation(points) == pytest.approx(1.0)
    points[0] = point("inf", 0.1)
    assert rank_correlation(points) < 0.0


def test_rank_correlation_agrees_with_scipy_over_seeds():
    points = [point(e, v, s) for e, v, s in [(1, 0.3, 0), (1, 0.4, 1), (8, 0.35, 0), (8, 0.6, 1)]]
    expected = stats.spearmanr([1, 1, 8, 8], [0.3, 0.4, 0.35, 0.6]).statistic
    assert rank_correlation(points) == pytest.approx(expected)


def test_rank_correlation_of_one_epsilon_is_nan():
    assert math.isnan(rank_correlation([point(8, 0.5), point(8, 0.6, 1)]))
    assert math.isnan(rank_correlation([]))


@pytest.mark.parametrize("value", [0, -1, "eight", None, math.nan])
def test_an_epsilon_that_is_none_is_refused(value):
    with pytest.raises(DataError, match="expected a number above 0"):
        epsilon_of(value)
