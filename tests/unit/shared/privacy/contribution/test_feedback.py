"""What one person's answers may add to a day's sum is bounded, and is theirs alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from client.serving.exploration import examination
from shared.privacy.contribution.feedback import (
    FEEDBACK_CLIP,
    feedback_scale,
    feedback_sums,
    user_feedback,
)

SHAPE = (5, 2, 7)
anything = arrays(np.float32, SHAPE, elements=st.floats(-1e6, 1e6, width=32))


@settings(max_examples=30)
@given(anything, st.integers(1, 9), st.floats(0, 4))
def test_nobody_contributes_more_than_the_sensitivity(own, places, eta):
    found = user_feedback(own, examination(places, eta)).astype(np.float64)
    assert found.shape == (5, 14)
    assert (np.linalg.norm(found, axis=1) <= FEEDBACK_CLIP.norm * (1 + 1e-12)).all()


@settings(max_examples=20)
@given(anything, st.integers(0, 4))
def test_without_a_person_all_others_contribute_the_same(own, person):
    looked_at = examination(5, 0.5)
    without = own.copy()
    without[person] = 0
    whole, rest = user_feedback(own, looked_at), user_feedback(without, looked_at)
    assert (rest[person] == 0).all()
    others = np.arange(5) != person
    np.testing.assert_array_equal(whole[others], rest[others])
    moved = np.linalg.norm(whole.sum(0, dtype=float) - rest.sum(0, dtype=float))
    assert moved <= FEEDBACK_CLIP.sensitivity("zero_out") * (1 + 1e-6)


def test_what_is_not_finite_adds_nothing():
    own = np.zeros(SHAPE, np.float32)
    own[0, 0, 0], own[1, 1, 1] = np.nan, np.inf
    assert not user_feedback(own, examination(5, 0.5)).any()


@settings(max_examples=20)
@given(arrays(np.float64, (2, 7), elements=st.floats(-1, 1)))
def test_sums_come_back_in_their_own_units(sums):
    looked_at = examination(5, 0.5)
    flat = (sums / feedback_scale(looked_at)[:, None]).reshape(-1)
    np.testing.assert_allclose(feedback_sums(flat, looked_at), sums, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.5, 2.0])
def test_a_usual_day_is_hardly_clipped(eta):
    """Five places, half of them answered as they were not expected to be."""
    looked_at = examination(5, eta)
    own = np.zeros((1, 2, 7), np.float32)
    own[0, 0, :5], own[0, 1, :5] = looked_at**2, 0.5 * looked_at
    assert 0.4 < np.linalg.norm(user_feedback(own, looked_at)) < 1
