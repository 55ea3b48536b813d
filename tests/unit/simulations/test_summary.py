"""Intervals over seeds and users, and the rank correlation of a sweep."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from shared.errors import DataError
from simulations.results import Point, epsilon_of
from simulations.summary import Interval, summarise


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
    assert [entry["interval"] for entry in summary] == ["users", "users and seeds", "users"]
    json.dumps(summary, allow_nan=False)


@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_there_is_no_interval_of_no_width(seeds, value):
    """All users were hit, or none, and all seeds gave the same: others may differ all the same."""
    alike = {"full_hr@10": value, "full_hr@10_se": 0.0}
    (entry,) = summarise([point(8, 0.1 * seed, seed, **alike) for seed in range(seeds)])
    found = entry.metrics["full_hr@10"]
    assert found.high - found.low > 0.01


def test_the_interval_of_one_seed_is_that_of_its_people_and_two_more():
    hits = np.array([1.0] * 30 + [0.0] * 70)
    error = stats.sem(hits)
    (entry,) = summarise([point(8, 0.3, **{"hr@10_se": error, "ndcg@10": 0.3})])
    more = np.append(hits, [0.0, 1.0])
    half = stats.t.ppf(0.975, 99) * more.std() / math.sqrt(102)
    hit = entry.metrics["hr@10"]
    assert (hit.low, hit.high) == (
        pytest.approx(more.mean() - half),
        pytest.approx(more.mean() + half),
    )
    assert entry.metrics["ndcg@10"] == Interval(mean=0.3, low=None, high=None, std=None)
    assert set(entry.metrics) == {"hr@10", "ndcg@10"}


def test_seeds_that_agree_by_chance_leave_the_interval_over_people():
    (one,), (two,) = (summarise([point(8, 0.5, seed) for seed in range(n)]) for n in (1, 2))
    assert two.metrics["hr@10"] == replace(one.metrics["hr@10"], std=0.0)


def test_seeds_that_differ_widen_it_by_their_variance():
    values = [0.50, 0.56, 0.62]
    (entry,) = summarise([point(8, value, seed) for seed, value in enumerate(values)])
    metric = entry.metrics["hr@10"]
    assert metric.mean == pytest.approx(0.56)
    assert metric.std == pytest.approx(0.06)
    alone = stats.t.interval(0.95, 2, loc=0.56, scale=0.06 / math.sqrt(3))
    people = 0.01**2
    assert metric.high - metric.low > 2 * 1.96 * math.sqrt(0.06**2 / 3 + people) - 0.01
    assert metric.high - metric.low < 1.1 * (alone[1] - alone[0])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_metric_that_everybody_has_alike_is_not_certain(value):
    (entry,) = summarise([point(8, value, **{"hr@10_se": 0.0, "users": 20.0})])
    found = entry.metrics["hr@10"]
    assert found.low <= value <= found.high
    assert found.high - found.low > 0.05


def test_an_interval_never_leaves_the_range_of_the_metric():
    (entry,) = summarise([point(8, 0.05, 0), point(8, 0.95, 1)])
    assert (entry.metrics["hr@10"].low, entry.metrics["hr@10"].high) == (0.0, 1.0)


def test_the_largest_epsilon_of_the_seeds_is_reported():
    points = [point(8, 0.5), point(8, 0.5, 1, spent=7.5)]
    assert summarise(points)[0].epsilon == 8.0
    points.append(point(8, 0.5, 2, spent="inf"))
    assert summarise(points)[0].plain()["epsilon"] == "inf"


@pytest.mark.parametrize("value", [0, -1, "eight", None, math.nan])
def test_an_epsilon_that_is_none_is_refused(value):
    with pytest.raises(DataError, match="expected a number above 0"):
        epsilon_of(value)
