"""Whatever a model scores or an update holds, bits and metrics stay within their sensitivity."""

import math

import numpy as np
import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from hypothesis.extra import numpy as hnp

from client.training.evaluate import target_ranks
from shared.data.split import held_out
from shared.errors import ProtocolError
from shared.privacy.contribution.adaptive_clip import BIT_CLIP, QuantileRule, clip_and_bits
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.contribution.evaluation import (
    METRICS_CLIP,
    estimate_metrics,
    metric_contributions,
)

odd = st.floats(width=32, allow_subnormal=True) | st.sampled_from(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3.4e38, -3.4e38]
)
rows = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=2, max_side=9), elements=odd)
scores = hnp.arrays(np.float32, 30, elements=odd)
histories = st.lists(st.integers(0, 29), min_size=0, max_size=12, unique=True)
ranks = st.lists(st.integers(0, 2**62), max_size=20)


def exceeds(bits_of, values, norm) -> bool:
    """Whether an update in units of its clip, or its bit, is longer than was accounted for."""
    clipped, bits = bits_of(L2Clip(norm), torch.from_numpy(values.copy()))
    lengths = torch.linalg.vector_norm(clipped.double(), dim=-1) / norm
    return not bool((lengths <= 1 + 1e-12).all() and (bits.abs() <= BIT_CLIP.norm).all())


@settings(max_examples=200, deadline=None)
@given(values=rows, norm=st.floats(1e-30, 1e30))
def test_an_update_and_its_bit_are_bounded(values, norm):
    assert not exceeds(clip_and_bits, values, norm)


@settings(max_examples=100, deadline=None)
@given(values=rows, norm=st.floats(1e-30, 1e30))
def test_a_bit_says_on_which_side_of_the_clip_the_norm_was(values, norm):
    clipped, bits = clip_and_bits(L2Clip(norm), torch.from_numpy(values))
    unchanged = (clipped == torch.from_numpy(values)).all(dim=-1)
    assert unchanged[bits > 0].all()
    there = torch.from_numpy(values).ne(0).any(dim=-1)  # who has nothing says nothing
    assert bool((bits.abs() == BIT_CLIP.norm * there).all())


def bits_of_zero_and_one(clip, updates):
    return clip(updates), (clip.norms(updates) <= clip.norm).double()


def the_norm_itself(clip, updates):
    return clip(updates), 0.5 - clip.norms(updates) / clip.norm


@pytest.mark.parametrize("planted", [bits_of_zero_and_one, the_norm_itself])
def test_the_property_finds_planted_bugs(planted):
    try:
        find(
            rows,
            lambda values: exceeds(planted, values, 1.0),
            settings=settings(max_examples=2000, database=None, deadline=None),
        )
    except NoSuchExample:
        pytest.fail(f"{planted.__name__} passed for a bounded bit")


@settings(max_examples=100, deadline=None)
@given(
    bits=st.lists(st.floats(allow_infinity=False, allow_nan=False), min_size=1, max_size=30),
    quantile=st.floats(0.01, 0.99),
    rate=st.floats(1e-3, 1e3),
)
def test_no_noise_carries_the_norm_out_of_its_range(bits, quantile, rate):
    rule, norm = QuantileRule(quantile, rate, 0.5), 0.5
    for drawn in bits:
        norm = rule.next(norm, drawn, 100.0)
        assert rule.check(norm) == norm
        assert 0.5e-3 <= norm <= 0.5e3


@pytest.mark.parametrize("norm", [math.nan, math.inf, 0.0, -1.0, 4e-4, 501.0])
def test_a_device_refuses_a_norm_outside_the_range(norm):
    with pytest.raises(ProtocolError, match=r"expected 0\.0005 to 500"):
        QuantileRule(0.5, 0.2, 0.5).check(norm)


@settings(max_examples=150, deadline=None)
@given(scored=scores, history=histories)
def test_a_device_contributes_within_the_sensitivity_whatever_it_scored(scored, history):
    past = np.array(history, dtype=np.int64)
    case = held_out(past, "validation", 30)
    found = [] if case is None else [target_ranks(scored, past, case, 9, 3)[0]]
    assert_bounded(metric_contributions(found))


@settings(max_examples=100, deadline=None)
@given(found=ranks)
def test_no_rank_contributes_more(found):
    rows = metric_contributions(found)
    assert rows.shape == (len(found), 3)
    assert_bounded(rows)
    assert np.array_equal(rows[:, 2], np.full(len(found), 0.5, dtype=np.float32))


def assert_bounded(rows):
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert (lengths <= METRICS_CLIP.norm * (1 + 1e-12)).all()


@settings(max_examples=200, deadline=None)
@given(
    sums=hnp.arrays(np.float64, 3, elements=st.floats(-1e9, 1e9)),
    z=st.floats(0, 1e6),
    q=st.floats(1e-6, 1.0),
)
def test_an_estimate_is_a_share_within_its_interval(sums, z, q):
    found = estimate_metrics(sums, z, q)
    for one in found.metrics.values():
        assert 0 <= one.low <= one.high <= 1
        assert 0 <= one.value <= 1
        assert one.low - 1e-9 <= one.value <= one.high + 1e-9
        assert one.standard_error >= 0


@pytest.mark.parametrize("sums", [[1.0, np.nan, 3.0], [np.inf, 1.0, 1.0], [1.0, 2.0]])
def test_sums_that_are_none_are_refused(sums):
    with pytest.raises(ProtocolError, match="metrics of shape"):
        estimate_metrics(np.array(sums), 1.0, 1.0)
