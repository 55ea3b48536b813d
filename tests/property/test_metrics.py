"""Properties of ranks and metrics over arbitrary scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from shared import metrics

SCORES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    # few distinct values, so that ties are common; NaN and infinities among them
    elements=st.sampled_from([-np.inf, -1.0, 0.0, 1.0, 2.0, np.inf, np.nan]),
)
RANKS = st.lists(st.integers(0, 200), min_size=1, max_size=50)


def slow_rank(row, target):
    """One competitor at a time."""
    rank = 0
    for column, score in enumerate(row):
        if column != target and not score < row[target]:
            rank += 1
    return rank


@given(SCORES, st.data())
def test_ranks_equal_the_loop_over_competitors(scores, data):
    column = data.draw(st.integers(0, scores.shape[1] - 1))
    expected = [slow_rank(row, column) for row in scores]
    assert metrics.rank_of_target(scores, column).tolist() == expected


@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_competitors_does_not_matter(scores, random):
    order = list(range(1, scores.shape[1]))
    random.shuffle(order)
    shuffled = scores[:, [0, *order]]
    assert (metrics.rank_of_target(scores) == metrics.rank_of_target(shuffled)).all()


@given(RANKS, st.integers(1, 50))
def test_metrics_stay_in_range_and_in_order(ranks, k):
    hit, gain = metrics.hits(ranks, k), metrics.discounted_gains(ranks, k)
    inverse = metrics.reciprocal_ranks(ranks)
    assert ((gain >= 0) & (gain <= hit) & (hit <= 1)).all()
    assert ((inverse > 0) & (inverse <= 1)).all()
    assert (hit <= metrics.hits(ranks, k + 1)).all()


@given(RANKS, st.data())
def test_a_better_rank_never_lowers_a_metric(ranks, data):
    user = data.draw(st.integers(0, len(ranks) - 1))
    better = [max(rank - (i == user), 0) for i, rank in enumerate(ranks)]
    for metric in (metrics.hits, metrics.discounted_gains, metrics.reciprocal_ranks):
        assert (metric(better) >= metric(ranks)).all()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.integers(1, 9))
def test_gini_is_in_range_and_free_of_scale(counts, scale):
    value = metrics.gini(counts)
    assert -1e-12 <= value < 1.0
    assert metrics.gini([count * scale for count in counts]) == pytest.approx(value)
