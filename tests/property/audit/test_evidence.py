"""Bounds on epsilon, whatever was guessed: the more is right, the more is shown, up to a most."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from simulations.audit.evidence import (
    best,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_one_run,
    most_provable,
    one_run,
    right_guesses,
)

BOUNDS = st.sampled_from([one_run, gaussian_one_run])
DELTAS = st.sampled_from([0.0, 1e-7, 1e-5, 1e-3])
CONFIDENCES = st.sampled_from([0.8, 0.95, 0.9999])
SHARES = st.lists(st.floats(0.001, 1.0), min_size=1, max_size=3)


@st.composite
def counts(draw):
    canaries = draw(st.integers(2, 400))
    guesses = draw(st.integers(1, canaries))
    return draw(st.integers(0, guesses - 1)), guesses, canaries


@settings(max_examples=60, deadline=None)
@given(counts(), BOUNDS, DELTAS, CONFIDENCES)
def test_one_more_right_guess_shows_no_less(found, bound, delta, confidence):
    right, guesses, canaries = found
    less = bound(right, guesses, canaries, delta, confidence)
    more = bound(right + 1, guesses, canaries, delta, confidence)
    assert 0 <= less <= more + 1e-6


@settings(max_examples=60, deadline=None)
@given(counts(), BOUNDS, DELTAS, CONFIDENCES)
def test_more_confidence_shows_no_more(found, bound, delta, confidence):
    sure = bound(*found, delta, 1 - (1 - confidence) / 10)
    assert sure <= bound(*found, delta, confidence) + 1e-6


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 300), st.integers(0, 2**32), st.booleans(), BOUNDS, DELTAS, SHARES)
def test_no_scores_show_more_than_could_be_shown(canaries, seed, blunt, bound, delta, shares):
    random = np.random.default_rng(seed)
    bits = random.random(canaries) < 0.5
    scores = bits + (random.normal(size=canaries) if blunt else 0.0)
    found = best(scores, bits, delta, 0.95, bound, shares)
    assert found <= most_provable(canaries, delta, 0.95, bound, shares) + 1e-6


@pytest.mark.parametrize("canaries", [2, 7, 100])
def test_what_could_be_shown_is_shown_by_right_guesses(canaries):
    bits = np.arange(canaries) % 2 == 1
    for bound in (one_run, gaussian_one_run):
        for shares in ([1.0], [0.1, 1.0]):
            found = best(bits.astype(float), bits, 1e-6, 0.9, bound, shares)
            assert found == most_provable(canaries, 1e-6, 0.9, bound, shares)


def test_what_could_be_shown_counts_delta_and_the_parts_of_the_risk():
    alone = most_provable(1000, 0.0, 0.95, shares=[1.0])
    assert alone == pytest.approx(math.log(1000 / math.log(20)), abs=0.01)
    assert most_provable(1000, 0.0, 0.95, shares=[1.0, 1.0]) < alone
    assert most_provable(1000, 1e-4, 0.95, shares=[1.0]) < alone
    assert most_provable(1000, 0.1, 0.95, shares=[1.0]) == 0


@settings(max_examples=60, deadline=None)
@given(st.floats(0.01, 6), st.sampled_from([1e-9, 1e-5, 1e-3]))
def test_epsilon_of_a_gaussian_has_its_delta(shift, delta):
    epsilon = gaussian_epsilon(shift, delta)
    assert gaussian_delta(epsilon + 1e-5, shift) <= delta
    assert epsilon == 0 or gaussian_delta(max(epsilon - 1e-5, 0.0), shift) >= delta * (1 - 1e-6)


def test_nobody_guesses_about_more_than_there_are():
    scores, bits = np.arange(7.0), np.arange(7) > 3
    assert best(scores, bits, 0.0, 0.6, shares=[1.0]) > 0  # of seven, six
    for guesses in (0, 1, 3, 8):
        with pytest.raises(ConfigError, match=r"even number in \[2, 7\]"):
            right_guesses(scores, bits, guesses)
    for too_few in (0, 1):
        with pytest.raises(ConfigError, match="at least 2"):
            best(scores[:too_few], bits[:too_few], 0.0, 0.95)
