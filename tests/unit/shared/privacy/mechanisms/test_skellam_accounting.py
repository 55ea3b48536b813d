"""Skellam noise: the bound against exact divergences and hockey sticks, summed from the pmf."""

import itertools
import math

import numpy as np
import pytest
from dp_accounting import (
    ComposedDpEvent,
    GaussianDpEvent,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
)

from shared.errors import ConfigError
from shared.privacy.accounting import rdp as renyi
from shared.privacy.accounting.accountant import epsilon, epsilon_prv, epsilon_rdp, largest
from shared.privacy.accounting.events import SkellamDpEvent
from shared.privacy.accounting.steps import SkellamStep
from tests.support.oracles import skellam_divergence, skellam_epsilon

DELTA = 1e-5


def step(mu: float, *shifts: int) -> SkellamStep:
    return SkellamStep(mu, math.hypot(*shifts), float(sum(shifts)), 1)


def event(mu: float, *shifts: int) -> SkellamDpEvent:
    return SkellamDpEvent(mu, math.hypot(*shifts), float(sum(shifts)))


ORDERS = np.array([2.0, 3.0, 8.0, 32.0, 128.0])
SHIFTS = [(1,), (2,), (5,), (20,), (1, 1), (4, 1), (3, 4, 12)]


@pytest.mark.parametrize("shifts", SHIFTS)
@pytest.mark.parametrize("mu", [0.5, 3.0, 20.0, 300.0, 1e4])
def test_the_bound_is_never_below_the_skellam_divergence(
    mu: float, shifts: tuple[int, ...]
) -> None:
    bounds = renyi.skellam_divergence(step(mu, *shifts), ORDERS)
    exact = np.array([skellam_divergence(mu, shifts, order) for order in ORDERS])
    assert (bounds >= exact * (1 - 1e-9)).all()
    # Where the variance is well above order times shift, as in use, little is given away.
    covered = 2 * ORDERS * max(shifts) <= mu
    assert (bounds[covered] <= 1.12 * exact[covered]).all()
    assert covered.any() or mu < 100


@pytest.mark.parametrize(("mu", "by_hand"), [(100.0, 0.18 + 0.002325), (1.0, 18.0 + 7.5)])
def test_the_bound_is_the_published_one(mu: float, by_hand: float) -> None:
    """Order 4, D2 = 3, D1 = 5: 36 / (2 mu) + min(93 / (4 mu^2), 15 / (2 mu)).

    The exact divergences leave room for a smaller second term; what is proved is this one.
    """
    found = renyi.skellam_divergence(SkellamStep(mu, 3.0, 5.0, 1), np.array([4.0]))
    assert found == pytest.approx([by_hand], rel=1e-12)


def test_half_the_variance_breaks_the_bound() -> None:
    """Negative control: noise of which half went missing is not covered."""
    bounds = renyi.skellam_divergence(step(300.0, 5), ORDERS)
    exact = np.array([skellam_divergence(150.0, (5,), order) for order in ORDERS])
    assert (bounds < exact).all()


@pytest.mark.parametrize(
    ("mu", "shifts"), [(100.0, (5,)), (100.0, (20,)), (2000.0, (20,)), (60.0, (4, 2))]
)
@pytest.mark.parametrize("delta", [1e-3, 1e-5])
def test_epsilon_is_above_the_exact_one_and_not_by_much(
    mu: float, shifts: tuple[int, ...], delta: float
) -> None:
    exact = skellam_epsilon(mu, shifts, delta)
    found = epsilon(event(mu, *shifts), delta)
    assert exact <= found <= 1.2 * exact


def test_many_releases_come_near_the_gaussian() -> None:
    """With much noise on a fine grid the two mechanisms are one, up to RDP's own excess."""
    skellam = epsilon([(SkellamDpEvent(4e10, 1e5, 1e7), 10)], DELTA)
    gaussian = [(GaussianDpEvent(2.0), 10)]
    assert epsilon(gaussian, DELTA) < skellam
    assert skellam == pytest.approx(epsilon_rdp(gaussian, DELTA), rel=5e-3)


def test_releases_of_both_kinds_add_up() -> None:
    fine = SkellamDpEvent(4e10, 1e5, 1e7)  # as good as a Gaussian with z = 2
    both = [(fine, 5), (GaussianDpEvent(2.0), 5)]
    assert epsilon(both, DELTA) == pytest.approx(epsilon([(fine, 10)], DELTA), rel=2e-3)
    sampled = [(fine, 5), (PoissonSampledDpEvent(0.1, GaussianDpEvent(2.0)), 5)]
    assert epsilon([(fine, 5)], DELTA) < epsilon(sampled, DELTA) < epsilon(both, DELTA)
    nested = ComposedDpEvent([SelfComposedDpEvent(fine, 5), GaussianDpEvent(2.0)])
    assert epsilon(nested, DELTA) == epsilon([(fine, 5), (GaussianDpEvent(2.0), 1)], DELTA)


def test_replacing_doubles_both_sensitivities() -> None:
    replaced = epsilon(SkellamDpEvent(100.0, 2.0, 3.0), DELTA, "replace_one")
    assert replaced == epsilon(SkellamDpEvent(100.0, 4.0, 6.0), DELTA)
    assert replaced > epsilon(SkellamDpEvent(100.0, 2.0, 3.0), DELTA)


def test_one_accountant_covers_it_and_the_others_say_so() -> None:
    history = [(SkellamDpEvent(100.0, 2.0, 3.0), 2)]
    assert epsilon(history, DELTA) == epsilon_rdp(history, DELTA)
    assert epsilon_prv(history, DELTA) is None
    both = [history, [(GaussianDpEvent(9.0), 1)]]
    assert largest(epsilon_prv, both, DELTA, "zero_out") is None
    assert largest(epsilon, both, DELTA, "zero_out") == epsilon(history, DELTA)


def test_next_to_no_noise_is_infinite() -> None:
    assert epsilon(SkellamDpEvent(1e-9, 1.0, 1.0), DELTA) == math.inf


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ((0.0, 1.0, 1.0), "variance"),
        ((-1.0, 1.0, 1.0), "variance"),
        ((math.nan, 1.0, 1.0), "variance"),
        ((math.inf, 1.0, 1.0), "variance"),
        ((1.0, 0.0, 1.0), "l2_sensitivity"),
        ((1.0, 2.0, 1.0), "l2_sensitivity"),  # exchanged
        ((1.0, 1.0, math.nan), "l1_sensitivity"),
        ((1.0, math.inf, math.inf), "l1_sensitivity"),
    ],
)
def test_refuses_numbers_that_mean_nothing(numbers: tuple[float, ...], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        epsilon(SkellamDpEvent(*numbers), DELTA)


def test_sampling_does_not_amplify_it() -> None:
    """No bound for it is known here, so none is applied."""
    sampled = PoissonSampledDpEvent(0.1, SkellamDpEvent(100.0, 2.0, 3.0))
    for cost, relation in itertools.product(
        (epsilon, epsilon_rdp, epsilon_prv), ("zero_out", "replace_one")
    ):
        with pytest.raises(ConfigError, match="no accountant"):
            cost(sampled, DELTA, relation)
