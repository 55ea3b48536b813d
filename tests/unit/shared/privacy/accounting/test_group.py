"""Groups of units: exact where all take part, a mixture against numeric integration where not."""

import math

import numpy as np
import pytest
from dp_accounting import DpEvent, GaussianDpEvent, PoissonSampledDpEvent
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr
from scipy.stats import binom, norm

from shared.errors import ConfigError
from shared.privacy.accounting.accountant import (
    calibrate,
    epsilon,
    epsilon_prv,
    epsilon_rdp,
    largest,
)
from shared.privacy.accounting.events import SkellamDpEvent
from shared.privacy.guarantee import Relation
from tests.support.privacy.guarantees import promised

DELTA = 1e-5


def gaussian_epsilon(z: float, releases: int, distance: float) -> float:
    """Balle & Wang 2018, theorem 8, at DELTA."""
    m = distance * math.sqrt(releases) / z

    def excess(e: float) -> float:
        second = math.exp(e + float(log_ndtr(-m / 2 - e / m)))
        return float(ndtr(m / 2 - e / m)) - second - DELTA

    return float(brentq(excess, 0, 500, xtol=1e-12))


def mixture_epsilon(z: float, q: float, k: int) -> float:
    """One release: hockey sticks of noise around a binomial number and around 0, on a fine grid."""
    x, width = np.linspace(-14 * z - k, 14 * z + 2 * k, 400_001, retstep=True)
    without = norm.pdf(x / z) / z
    present = sum(binom.pmf(j, k, q) * norm.pdf((x - j) / z) / z for j in range(k + 1))

    def excess(e: float) -> float:
        more = np.maximum(present - math.exp(e) * without, 0).sum()
        fewer = np.maximum(without - math.exp(e) * present, 0).sum()
        return float(max(more, fewer)) * width - DELTA

    return float(brentq(excess, 0, 100, xtol=1e-9))


@pytest.mark.parametrize("relation", ["zero_out", "replace_one"])
@pytest.mark.parametrize(("z", "releases", "k"), [(20.0, 40, 2), (8.0, 3, 5)])
def test_without_sampling_the_noise_is_worth_a_kth(
    z: float, releases: int, k: int, relation: Relation
) -> None:
    exact = gaussian_epsilon(z, releases, k * (1 if relation == "zero_out" else 2))
    history = [(GaussianDpEvent(z), releases)]
    found = epsilon(history, DELTA, relation, k)
    assert exact - 1e-9 <= found <= exact + 1e-4 + 1e-4 * exact
    rdp, prv = (cost(history, DELTA, relation, k) for cost in (epsilon_rdp, epsilon_prv))
    assert rdp is not None
    assert prv is not None
    assert found <= rdp
    assert abs(found - prv) <= 0.021


@pytest.mark.parametrize(("z", "q", "k"), [(1.0, 0.05, 2), (2.0, 0.3, 4), (4.0, 0.5, 12)])
def test_a_sampled_group_is_a_mixture(z: float, q: float, k: int) -> None:
    exact = mixture_epsilon(z, q, k)
    found = epsilon(PoissonSampledDpEvent(q, GaussianDpEvent(z)), DELTA, group=k)
    assert exact - 1e-6 <= found <= exact + 1e-3 + 1e-3 * exact
    # Negative control: dividing the noise, right without sampling, would promise too much here.
    divided = epsilon(PoissonSampledDpEvent(q, GaussianDpEvent(z / k)), DELTA)
    assert abs(divided - exact) > 0.1


def test_a_group_stays_within_the_generic_rule() -> None:
    """(epsilon, delta) for one gives k epsilon at delta (e^(k epsilon) - 1) / (e^epsilon - 1)."""
    history: list[tuple[DpEvent, int]] = [(PoissonSampledDpEvent(0.1, GaussianDpEvent(3.0)), 20)]
    one = epsilon(history, 1e-9)
    delta = 1e-9 * math.expm1(3 * one) / math.expm1(one)
    assert one < epsilon(history, delta, group=3) < 3 * one


def test_a_group_of_one_is_a_unit() -> None:
    history = [(PoissonSampledDpEvent(0.1, GaussianDpEvent(3.0)), 20), (GaussianDpEvent(9.0), 1)]
    assert epsilon(history, DELTA, group=1) == epsilon(history, DELTA)


def test_skellam_sensitivities_grow_with_the_group() -> None:
    found = epsilon(SkellamDpEvent(900.0, 2.0, 3.0), DELTA, group=3)
    assert found == epsilon(SkellamDpEvent(900.0, 6.0, 9.0), DELTA)


def test_what_covers_no_sampled_group_says_so() -> None:
    history = [(PoissonSampledDpEvent(0.1, GaussianDpEvent(3.0)), 2)]
    assert epsilon_rdp(history, DELTA, group=2) is None
    assert epsilon_prv(history, DELTA, group=2) is None
    assert largest(epsilon_rdp, [history], DELTA, "zero_out", 2) is None
    with pytest.raises(ConfigError, match="Skellam and sampled"):
        epsilon([*history, (SkellamDpEvent(9.0, 1.0, 1.0), 1)], DELTA, group=2)
    with pytest.raises(ConfigError, match="at most 32"):
        epsilon(history, DELTA, group=33)


@pytest.mark.parametrize("group", [0, -1, 10**7])
def test_refuses_groups_of_no_size(group: int) -> None:
    for cost in (epsilon, epsilon_rdp, epsilon_prv):
        with pytest.raises(ConfigError, match="group"):
            cost(GaussianDpEvent(3.0), DELTA, "zero_out", group)


def test_calibrates_for_a_group() -> None:
    noise = calibrate(promised(4.0, DELTA), 10, 1.0).noise_multiplier
    for_two = calibrate(promised(4.0, DELTA, group=2), 10, 1.0).noise_multiplier
    assert for_two == pytest.approx(2 * noise, rel=1e-3)
