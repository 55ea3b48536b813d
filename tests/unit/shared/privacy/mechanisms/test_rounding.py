"""Rotation and rounding: nothing is longer than accounted, nothing is off on average."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard as matrix

from shared.privacy.mechanisms import rounding
from shared.privacy.mechanisms.rotation import Rotation, hadamard, transform_size
from shared.privacy.mechanisms.rounding import StochasticRounding, rounding_error
from shared.privacy.mechanisms.source import NoiseSource

FALSE_ALARM = 1e-7  # of each statistical test here
QUANTILE = 5.4  # of a standard normal number's magnitude, once in 10^7
DIMS = st.sampled_from([1, 2, 3, 5, 64, 100, 1023, 1024]) | st.integers(1, 300)
STEPS = st.floats(1.0, 2.0**14)
ANY = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 5e-324, 1e-310, 1.7e308, 1.0, -1e30])


def unit(dim, seed):
    row = np.random.default_rng(seed).normal(size=dim)
    return row / np.linalg.norm(row)


def squares(whole):
    """In Python's whole numbers."""
    return sum(k * k for k in whole.tolist())


class Counting:
    """Randomness that knows how often it was drawn."""

    def __init__(self):
        self.draws, self.source = 0, NoiseSource.seeded(2)

    def words(self, size):
        self.draws += 1
        return self.source.words(size)


@settings(max_examples=80, deadline=None)
@given(DIMS, STEPS, st.integers(1, 10**6), st.integers(0, 2**32 - 1), st.floats(0, 1.001))
def test_what_is_rounded_is_never_longer_than_accounted(dim, steps, devices, seed, length):
    grid = StochasticRounding(steps, dim, devices)
    whole = grid.encode(unit(dim, seed) * length, NoiseSource.seeded(seed))
    assert whole.dtype == np.int64
    assert squares(whole) <= grid.l2_squared
    assert sum(abs(k) for k in whole.tolist()) <= grid.l2_squared
    assert grid.l2_squared >= math.floor(steps**2)


@settings(max_examples=80, deadline=None)
@given(st.lists(ANY | st.floats(width=32), min_size=1, max_size=12), STEPS)
def test_nor_is_anything_else(numbers, steps):
    vector = np.array(numbers)
    grid = StochasticRounding(steps, len(numbers), 10)
    assert squares(grid.encode(vector, NoiseSource.seeded(1))) <= grid.l2_squared


def test_nor_is_a_vector_of_many_numbers():
    for steps in (1.0, 7.4, 300.0):
        grid = StochasticRounding(steps, 100_003, 943)
        turned = Rotation(100_003, "x").forward(unit(100_003, 1))
        assert squares(grid.encode(turned, NoiseSource.seeded(1))) <= grid.l2_squared


@pytest.mark.parametrize("dim", [1, 40, 3000])
@pytest.mark.parametrize("steps", [1.0, 9.3, 1000.0])
def test_rounding_is_kept_as_often_as_is_promised(dim, steps):
    """Drawn once, it is too long at most once in n + 1 times: counted over the hardest vectors."""
    grid = StochasticRounding(steps, dim, 20)
    hardest = np.full(dim, min(1 / math.sqrt(dim), 0.5 / steps))
    for vector in (unit(dim, 1), np.full(dim, dim**-0.5), hardest):
        source = Counting()
        for _ in range(200):
            grid.encode(vector, source)
        # 200 / 21 expected at most; a binomial number is above 30 once in 10^8.
        assert source.draws - 200 <= 30


def test_what_is_always_too_long_is_truncated(monkeypatch):
    monkeypatch.setattr(StochasticRounding, "l2_squared", property(lambda self: 81))
    grid = StochasticRounding(9.0, 400, 3)
    whole = grid.encode(np.full(400, 0.05), NoiseSource.seeded(1))
    assert not whole.any()  # each .45 of a step: any that is drawn is some 180 long, squared


@pytest.mark.parametrize("steps", [3.0, 40.0])
def test_rounding_has_no_bias(steps):
    dim, times = 200, 4000
    grid, vector = StochasticRounding(steps, dim, 943), unit(dim, 3)
    source = NoiseSource.seeded(4)
    mean = sum(grid.encode(vector, source) for _ in range(times)) / times
    error = mean - vector * steps
    assert np.linalg.norm(error) / math.sqrt(dim * 0.25 / times) < 1 + QUANTILE / math.sqrt(2 * dim)
    assert abs(error @ vector) < QUANTILE * 0.5 / math.sqrt(times)


@pytest.mark.parametrize("planted", [np.trunc, np.rint, np.ceil])
def test_a_biased_rounding_is_found(planted):
    """The negative control of the test above."""
    dim, times, steps = 200, 4000, 3.0
    vector = unit(dim, 3) * steps
    error = planted(vector) - vector
    apart = np.linalg.norm(error) / math.sqrt(dim * 0.25 / times)
    assert apart >= 1 + QUANTILE / math.sqrt(2 * dim)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000) | st.sampled_from([1, 2, 1682, 100_003]), st.integers(0, 2**32 - 1))
def test_the_rotation_is_orthonormal_and_turned_back(dim, seed):
    turn = Rotation(dim, "settings", seed)
    one, other = np.random.default_rng(seed).normal(size=(2, dim))
    assert turn.forward(one) @ turn.forward(other) == pytest.approx(
        one @ other, abs=1e-9 * dim, rel=1e-9
    )
    np.testing.assert_allclose(turn.inverse(turn.forward(one)), one, atol=1e-10)
    assert transform_size(dim) <= dim < 2 * transform_size(dim)


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_the_fast_transform_is_the_matrix(size):
    rows = np.array([hadamard(row) for row in np.eye(size)])
    np.testing.assert_allclose(rows, matrix(size) / math.sqrt(size), atol=1e-12)


def test_rotations_differ_by_what_they_are_for():
    one = [Rotation(100, "a", 1).forward(np.eye(100)[0]) for _ in range(2)]
    np.testing.assert_array_equal(*one)
    for context in (("a", 2), ("b", 1)):
        other = Rotation(100, *context).forward(np.ones(100))
        assert not np.allclose(Rotation(100, "a", 1).forward(np.ones(100)), other)


@pytest.mark.parametrize("dim", [100, 1682])
def test_no_rotated_number_is_larger_than_the_bound_more_often_than_it_says(dim):
    """P(|y_i| >= t ||x|| / 2^(p/2)) <= 2 exp(-t^2 / 2), at a t where it can be seen."""
    vectors = [np.eye(dim)[3], np.full(dim, dim**-0.5), unit(dim, 1)]
    for t in (1.5, 3.0):
        limit = t / math.sqrt(transform_size(dim))
        for vector in vectors:
            above = [
                (np.abs(Rotation(dim, seed).forward(vector)) >= limit).mean() for seed in range(200)
            ]
            bound, error = 2 * math.exp(-(t**2) / 2), np.std(above) / math.sqrt(200)
            assert np.mean(above) <= bound + QUANTILE * error


def test_a_rotation_without_signs_is_found():
    """The negative control of the test above: a constant vector ends up in one number."""
    flat = np.full(128, 128**-0.5)
    assert np.abs(hadamard(flat)).max() == pytest.approx(1.0)
    assert np.abs(Rotation(128, 1).forward(flat)).max() < 0.6


@pytest.mark.parametrize("devices", [5, 40, 200])
def test_rounding_errors_of_a_sum_stay_within_their_bound(devices):
    """At 2^-6, where a bound that did not hold would be seen."""
    dim, bits = 400, 6.0
    grid, source = StochasticRounding(6.0, dim, devices), NoiseSource.seeded(5)
    error = np.zeros(dim)
    for user in range(devices):
        vector = unit(dim, user)
        error += grid.encode(vector, source) - vector * 6.0
    share = (np.abs(error) > rounding_error(devices, bits)).mean()
    assert share <= 2.0**-bits + QUANTILE * math.sqrt(2.0**-bits / dim)
    assert rounding_error(3, 100.0) == 3
    assert rounding._TRIES >= 32  # the bound leaves out what all of them refuse
