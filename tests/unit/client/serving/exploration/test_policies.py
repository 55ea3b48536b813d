"""Chances of a place, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.serving.exploration import NAMES, Beliefs, chances_of, draw
from client.serving.exploration.policies import FLOOR, STRENGTHS, checked, least_propensity
from shared.errors import ConfigError

MEAN = np.array([0.5, 0.4, 0.3, 0.2])
LEFT = np.array([False, True, True, True])
BELIEFS = Beliefs(
    MEAN,
    np.array([0.0, 0.0, 0.2, 0.1]),
    np.array([[0.9, 0.1, 0.2, 0.3], [0.9, 0.3, 0.1, 0.2], [0.9, 0.0, 0.1, 0.2]]),
    np.array([4.0, 3.0, 2.0, 1.0]),
)
BY_HAND = {
    "greedy": (None, [0, 1, 0, 0]),
    "epsilon_greedy": (0.3, [0, 0.8, 0.1, 0.1]),
    "softmax": (0.1, np.array([0, np.e**4, np.e**3, np.e**2]) / (np.e**4 + np.e**3 + np.e**2)),
    "stratified": (0.3, [0, 0.8, 0.1, 0.1]),
    "thompson": (1.0, FLOOR / 3 * LEFT + (1 - FLOOR) / 3 * np.array([0, 1, 0, 2])),
    "linucb": (1.0, [0, 0, 1, 0]),
}


@pytest.mark.parametrize("name", NAMES)
def test_chances_are_those_of_the_formula(name):
    strength, wanted = BY_HAND[name]
    np.testing.assert_allclose(chances_of(name, BELIEFS, strength)(LEFT), wanted, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.sampled_from(NAMES), st.integers(1, 4))
def test_chances_are_a_law_over_what_is_left_in_any_batch(seed, name, size):
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(3, 9))
    beliefs = Beliefs(mean, rng.random((3, 9)), rng.normal(size=(3, 5, 9)), rng.normal(size=9))
    left = rng.random((3, 9)) < 0.7
    left[:, :4] = True
    chances = chances_of(name, beliefs)
    found = chances(left)
    assert (found >= 0).all()
    assert (found[~left] == 0).all()
    np.testing.assert_allclose(found.sum(-1), 1)
    least = least_propensity(name, 9, checked(name))
    assert (found[left] >= least - 1e-15).all()
    items, logged = draw(chances, left, size, rng)
    assert (logged > 0).all()
    assert all(len(set(slate)) == size for slate in items.tolist())
    assert np.take_along_axis(left, items, -1).all()
    for one in range(3):
        own = Beliefs(mean[one], beliefs.spread[one], beliefs.draws[one], beliefs.popularity)
        np.testing.assert_allclose(chances_of(name, own)(left[one]), found[one])


@pytest.mark.parametrize(
    ("name", "strength", "told"),
    [
        ("thomson", None, "did you mean thompson?"),
        ("softmax", 0.0, r"strength of softmax \(temperature.* = 0.0: expected a number above 0"),
        ("epsilon_greedy", 1.5, "at most 1"),
        ("greedy", 1.0, r"strength of greedy \(none\) = 1.0: expected 0"),
        ("linucb", float("nan"), "= nan: expected"),
    ],
)
def test_what_is_out_of_range_is_refused(name, strength, told):
    with pytest.raises(ConfigError, match=told):
        checked(name, strength)


def test_a_slate_longer_than_what_is_open_is_refused():
    with pytest.raises(ConfigError, match="slate of 4 places: expected 1 to 3"):
        draw(chances_of("greedy", BELIEFS), LEFT, 4, np.random.default_rng(0))
    assert checked("thompson") == STRENGTHS["thompson"][1]
