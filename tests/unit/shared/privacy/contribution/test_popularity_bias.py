"""The bias that a noised histogram becomes."""

import numpy as np
import pytest

from shared.privacy.contribution.histogram import WEIGHTS, popularity_bias


def test_it_is_of_the_rank_and_of_what_is_above_the_mean():
    counts, z = np.array([9.0, 0.0, 3.0, 3.0]), 1.0
    logarithm = np.log((counts + 2) / (counts + 2).mean())
    terms = np.array([3.0, 0.0, 1.5, 1.5]), np.maximum(logarithm, 0)
    expected = sum(
        w * (term - term.mean()) / term.std() for w, term in zip(WEIGHTS, terms, strict=True)
    )
    np.testing.assert_allclose(popularity_bias(counts, z, 2.0), 2 * expected, rtol=1e-9)


@pytest.mark.parametrize("items", [2, 300, 40_000])
@pytest.mark.parametrize("people", [1e-2, 10, 1e6])
def test_no_catalogue_and_no_number_of_people_makes_it_outweigh_the_rest(items, people):
    rng = np.random.default_rng(0)
    counts = rng.pareto(1.0, items) * people
    bias = popularity_bias(counts, 0.5, 1.0)
    assert bias.std() <= sum(WEIGHTS) + 1e-9
    assert bias[np.argmax(counts)] == bias.max()


def test_nothing_but_noise_below_zero_is_no_order():
    counts = -np.arange(5.0)
    np.testing.assert_array_equal(popularity_bias(counts, 1.0, 1.0), np.zeros(5))


def test_the_order_of_a_sum_decides_no_rank():
    """Of engines, workers and machines: equal counts would differ in their last bit."""
    bias = popularity_bias(np.array([4.0, 4.0 * (1 + 1e-14), 9.0, 1.0]), 0.0, 1.0)
    assert bias[0] == pytest.approx(bias[1], abs=1e-12)
