"""Thresholds against exact numbers, and the look-up against a plain search."""

import math
from decimal import Decimal, localcontext
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from shared.errors import ConfigError
from shared.privacy.mechanisms.skellam import SkellamNoise, SkellamTable, tail, thresholds
from shared.privacy.mechanisms.source import NoiseSource

ONE = 2**127


def exact_pmf(variance, k):
    """e^-v I_k(v) by its series, to 60 digits; an oracle that shares nothing with the tables."""
    with localcontext() as context:
        context.prec = 60
        half = Decimal(variance) / 2
        term = half**k / math.factorial(k)
        total, j = term, 0
        while term > total * Decimal(10) ** -58:
            j += 1
            term *= half * half / (j * (j + k))
            total += term
        return total * (-Decimal(variance)).exp()


@pytest.mark.parametrize("variance", [1, 7, 40])
def test_thresholds_are_exact_to_a_hundred_bits(variance):
    limits = thresholds(variance)
    below = Decimal(0)
    with localcontext() as context:
        context.prec = 60
        for k, limit in enumerate(limits):
            below += exact_pmf(variance, k) * (1 if k == 0 else 2)
            assert abs(Decimal(limit) / ONE - below) < Decimal(2) ** -120
    assert limits[-1] == ONE


@pytest.mark.parametrize("variance", [1, 2, 977, 3_300_000])
def test_thresholds_are_those_of_scipy(variance):
    limits = thresholds(variance)
    shown = np.array([high - low for low, high in pairwise([0, *limits])], dtype=float) / ONE
    k = np.arange(len(limits))
    pmf = stats.norm.pdf(k, scale=variance**0.5)  # where scipy's own series gives up
    if variance < 1000:
        pmf = stats.skellam.pmf(k, variance / 2, variance / 2)
    error = 1e-9 if variance > 1000 else 2.0**-126  # of the normal limit; of rounding twice
    np.testing.assert_allclose(shown, pmf * np.where(k, 2, 1), atol=error)
    assert all(low <= high for low, high in pairwise(limits))


@pytest.mark.parametrize("variance", [0.5, 3.0, 100.0, 1e7, 1e15])
def test_a_tail_is_bounded_and_not_by_far_too_much(variance):
    t = tail(variance, 60)
    deviations = t / math.sqrt(variance)
    assert deviations > 9  # of a normal number 2^-60 is at 8.9
    if variance >= 100:
        assert deviations < 12
    if variance < 1e4:
        rates = variance / 2
        assert 2 * stats.skellam.sf(t - 1, rates, rates) <= 2.0**-60
    assert tail(variance, 20) < t < tail(variance, 60, weight=4)


class Given:
    """Words as they are told."""

    def __init__(self, *draws):
        self.draws = [np.array(draw, dtype=np.uint64) for draw in draws]

    def words(self, size):
        drawn = self.draws.pop(0)
        assert len(drawn) == size
        return drawn


def test_the_look_up_is_a_plain_search():
    for variance in (1, 90, 40_000):
        limits = thresholds(variance)
        words = NoiseSource.seeded(3, variance).words(4000)
        drawn = SkellamTable(limits).draw(Given(words), 4000)
        high = np.array([limit >> 64 for limit in limits], dtype=np.uint64)
        magnitude = np.searchsorted(high, words & np.uint64(2**63 - 1))
        assert np.array_equal(np.abs(drawn), magnitude)
        assert np.array_equal(
            drawn[magnitude > 0] < 0, (words >> np.uint64(63))[magnitude > 0] == 1
        )


def test_equal_upper_halves_are_decided_by_the_lower():
    limits = [5 << 64 | 7, 5 << 64 | 9, 6 << 64, ONE]
    high = [5, 5, 5, 5 | 2**63, 6, 4]
    low = [6, 7, 8, 9, 0]
    drawn = SkellamTable(limits).draw(Given(high, low), 6)
    assert drawn.tolist() == [0, 1, 1, -2, 3, 0]


def test_large_variances_are_sums_of_smaller_ones(monkeypatch):
    monkeypatch.setattr("shared.privacy.mechanisms.skellam._LARGEST", 64)
    drawn = SkellamNoise(200).draw(NoiseSource.seeded(1), 60_000)  # 64 + 64 + 64 + 8
    assert abs(drawn.var() / 200 - 1) < 6 * math.sqrt(2 / 60_000)  # one in 10^8


def test_draws_are_whole_numbers_of_any_amount():
    noise = SkellamNoise(5)
    assert noise.draw(NoiseSource.seeded(1), 0).shape == (0,)
    many = noise.draw(NoiseSource.seeded(1), 2**17 + 5)
    assert many.dtype == np.int64
    assert many.shape == (2**17 + 5,)


@pytest.mark.parametrize("variance", [0, -1, 2**42 + 1])
def test_a_variance_outside_its_range_is_refused(variance):
    with pytest.raises(ConfigError, match=r"variance of a device's noise = .* expected 1 to 2\^42"):
        SkellamNoise(variance)
