"""Metrics against values worked out by hand."""

import math

import numpy as np
import pytest

from shared import metrics
from shared.errors import DataError


def test_ranks_count_ties_against_the_target():
    scores = [[3.0, 1.0, 2.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 5.0, 5.0]]
    assert metrics.rank_of_target(scores).tolist() == [0, 1, 2, 2]


def test_numbers_that_are_not_numbers_never_help():
    scores = [[np.nan, 0.0, 0.0], [1.0, np.nan, 0.0], [np.nan, np.nan, np.nan]]
    assert metrics.rank_of_target(scores).tolist() == [2, 1, 2]
    assert metrics.rank_of_target([[-np.inf, -np.inf], [0.0, -np.inf]]).tolist() == [1, 0]


def test_the_target_may_be_in_another_column_of_every_row():
    scores = np.array([[0.1, 0.9, 0.5], [0.1, 0.9, 0.5]], dtype=np.float32)
    assert metrics.rank_of_target(scores, target_column=1).tolist() == [0, 0]
    assert metrics.rank_of_target(scores, target_column=np.array([2, 0])).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("scores", "column", "message"),
    [
        ([1.0, 2.0], 0, r"shape \(2,\); expected \[n, candidates >= 1\]"),
        ([[1.0, 2.0]], 2, "target_column = 2; expected 0 to 1"),
        ([[1.0, 2.0]], -1, "target_column = -1; expected 0 to 1"),
    ],
)
def test_scores_that_are_no_table_and_columns_outside_it_are_refused(scores, column, message):
    with pytest.raises(DataError, match=message):
        metrics.rank_of_target(scores, column)


def test_hits_gains_and_reciprocal_ranks_by_hand():
    ranks = [0, 1, 9, 10]
    assert metrics.hits(ranks).tolist() == [1, 1, 1, 0]
    assert metrics.hits(ranks, k=1).tolist() == [1, 0, 0, 0]
    expected = [1, 1 / math.log2(3), 1 / math.log2(11), 0]
    assert metrics.discounted_gains(ranks) == pytest.approx(expected)
    assert metrics.reciprocal_ranks(ranks) == pytest.approx([1, 1 / 2, 1 / 10, 1 / 11])


def test_a_gain_agrees_with_the_definition_over_a_ranked_list():
    for rank in range(15):
        relevance = np.zeros(20)
        relevance[rank] = 1.0
        discount = 1.0 / np.log2(np.arange(2, 12))
        assert metrics.discounted_gains([rank])[0] == pytest.approx(relevance[:10] @ discount)


def test_the_standard_error_is_the_spread_over_the_root_of_the_count():
    assert metrics.standard_error([0.0, 1.0, 1.0, 0.0]) == pytest.approx(math.sqrt(1 / 3) / 2)
    assert math.isnan(metrics.standard_error([1.0]))


def test_ranking_metrics_hold_every_key_as_plain_floats():
    result = metrics.ranking_metrics(np.array([0, 20, 3]), np.array([5, 300, 40]))
    names = ["hr@10", "ndcg@10", "mrr", "full_hr@10", "full_ndcg@10", "full_mrr"]
    assert set(result) == {*names, *(f"{name}_se" for name in names), "users"}
    assert all(type(value) is float for value in result.values())
    assert result["hr@10"] == pytest.approx(2 / 3)
    assert result["hr@10_se"] == pytest.approx(metrics.standard_error([1, 0, 1]))
    assert result["full_hr@10"] == pytest.approx(1 / 3)
    assert result["full_mrr"] == pytest.approx((1 / 6 + 1 / 301 + 1 / 41) / 3)
    assert result["users"] == 3.0


def test_one_user_has_no_standard_error():
    assert not any(name.endswith("_se") for name in metrics.ranking_metrics([0], [1]))


@pytest.mark.parametrize(
    ("sampled", "full", "message"),
    [
        ([], [], "no user was ranked"),
        ([1, 2], [1], "2 users and full_ranks 1"),
        ([-1], [1], "rank -1; expected 0 or more"),
    ],
)
def test_ranks_of_nobody_of_different_users_or_below_zero_are_refused(sampled, full, message):
    with pytest.raises(DataError, match=message):
        metrics.ranking_metrics(sampled, full)


def test_a_cutoff_below_one_is_refused():
    with pytest.raises(DataError, match="k = 0"):
        metrics.hits([1], k=0)


def test_gini_is_zero_for_equals_and_near_one_for_a_monopoly():
    assert metrics.gini([4, 4, 4]) == pytest.approx(0.0)
    assert metrics.gini([0] * 99 + [7]) == pytest.approx(0.99)
    assert metrics.gini([0, 0]) == 0.0
