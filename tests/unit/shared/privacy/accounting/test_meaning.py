"""What an epsilon says, against closed forms and other accountants."""

import math

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from scipy.optimize import brentq
from scipy.stats import binom, norm

from shared.privacy.accounting.accountant import calibrate, epsilon
from shared.privacy.accounting.meaning import meaning, most_found
from shared.privacy.guarantee import Guarantee

DELTA = 1e-4


def told(budget=8.0, group=1):
    return Guarantee("user", "zero_out", "central", "sees all", DELTA, group, budget)


def everybody(budget, rounds=16):
    z = calibrate(told(budget), rounds, 1.0).noise_multiplier
    return z, [(GaussianDpEvent(z), rounds)]


def exact_delta(mu, at):
    """Of a Gaussian mechanism with signal-to-noise ratio mu (Balle and Wang 2018, theorem 8)."""
    return norm.cdf(mu / 2 - at / mu) - math.exp(at) * norm.cdf(-mu / 2 - at / mu)


@pytest.mark.parametrize("budget", [0.5, 1.0, 4.0, 8.0])
def test_the_loss_exceeds_epsilon_more_often_than_delta(budget):
    z, history = everybody(budget)
    found = meaning([history], told(budget), 943, (2,))
    mu = math.sqrt(16) / z
    assert found.exceeds == pytest.approx(norm.sf((found.epsilon - mu**2 / 2) / mu), rel=0.01)
    assert found.exceeds > 2 * DELTA  # delta is no probability of failing


def test_it_is_twelve_and_three_times_delta():
    for budget, times in ((1.0, 12.3), (8.0, 3.1)):
        _, history = everybody(budget)
        exceeds = meaning([history], told(budget), 943, ()).exceeds
        assert exceeds / DELTA == pytest.approx(times, abs=0.05)


@pytest.mark.parametrize("size", [2, 4])
def test_groups_are_the_accountants_value_not_a_multiple(size):
    z, history = everybody(8.0)
    found = meaning([history], told(), 943, (2, 4)).groups[size]
    mu = size * math.sqrt(16) / z
    exact = brentq(lambda at: exact_delta(mu, at) - DELTA, 1e-3, 200)
    assert found == pytest.approx(exact, rel=2e-4)
    assert found > 1.2 * size * 8.0


def test_a_group_beyond_the_accountant_is_infinite_not_small():
    history = [(PoissonSampledDpEvent(0.1, GaussianDpEvent(2.0)), 3)]
    assert meaning([history], told(), 943, (64,)).groups == {64: math.inf}


def test_who_knows_the_sample_is_held_without_amplification():
    z = calibrate(told(2.0), 40, 0.1).noise_multiplier
    found = meaning([[(PoissonSampledDpEvent(0.1, GaussianDpEvent(z)), 40)]], told(2.0), 943, ())
    expected, most = found.seen
    assert (expected.sums, most.sums) == (4, int(binom(40, 0.1).ppf(1 - 1 / 943)))
    for one in found.seen:
        alone = epsilon([(GaussianDpEvent(z), one.sums)], DELTA)
        assert one.epsilon == pytest.approx(alone)
    assert found.epsilon <= 2.0 < 5.5 < expected.epsilon < most.epsilon
    assert most_found(found.epsilon, DELTA, 0.01) == pytest.approx(0.074, abs=5e-4)
    assert most_found(expected.epsilon, DELTA, 0.01) > 0.996


def test_releases_of_everybody_count_beside_the_rounds():
    sampled = (PoissonSampledDpEvent(0.1, GaussianDpEvent(2.0)), 40)
    alone = meaning([[sampled]], told(), 943, ()).seen[0]
    beside = meaning([[sampled, (GaussianDpEvent(2.0), 1)]], told(), 943, ()).seen[0]
    assert beside.sums == alone.sums
    assert beside.epsilon > alone.epsilon


def test_where_no_sample_hides_nobody_learns_more_by_knowing():
    _, history = everybody(8.0)
    assert meaning([history], told(), 943, ()).seen == ()


def test_of_devices_the_costliest_counts():
    few, many = ([(GaussianDpEvent(3.0), n)] for n in (2, 9))
    assert meaning([few, many], told(), 943, (2,)) == meaning([many], told(), 943, (2,))


def test_the_bound_on_what_is_found_is_above_every_gaussian_attack_and_tight_at_zero():
    for mu in (0.3, 1.0, 2.5):
        for alarm in (0.001, 0.01, 0.2):
            power = norm.cdf(norm.ppf(alarm) + mu)
            for at in (0.5, 2.0, 6.0):
                assert power <= most_found(at, max(exact_delta(mu, at), 0.0), alarm) + 1e-12
    assert most_found(1e-12, 0.0, 0.01) == pytest.approx(0.01)
    assert most_found(math.inf, 0.0, 0.01) == 1.0
    assert most_found(5000.0, 1e-5, 0.01) == pytest.approx(1.0)
    assert most_found(8.0, 1e-4, 0.01) == pytest.approx(1 - math.exp(-8) * 0.9899)
