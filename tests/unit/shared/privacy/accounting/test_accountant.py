"""Three accountants against each other, closed forms and known figures."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from dp_accounting import (
    ComposedDpEvent,
    DpEvent,
    GaussianDpEvent,
    LaplaceDpEvent,
    NonPrivateDpEvent,
    NoOpDpEvent,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
    UnsupportedDpEvent,
    ZCDpEvent,
)
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from shared.errors import ConfigError
from shared.privacy.accounting import accountant
from shared.privacy.accounting.accountant import default_delta, epsilon, epsilon_prv, epsilon_rdp
from shared.privacy.guarantee import Relation


def sampled(z: float, q: float) -> DpEvent:
    return PoissonSampledDpEvent(q, GaussianDpEvent(z))


def gaussian_epsilon(z: float, releases: int, delta: float, distance: float) -> float:
    """Balle & Wang 2018, theorem 8: delta = Phi(m/2 - e/m) - exp(e) Phi(-m/2 - e/m)."""
    m = distance * math.sqrt(releases) / z

    def excess(e: float) -> float:
        second = math.exp(e + float(log_ndtr(-m / 2 - e / m)))
        return float(ndtr(m / 2 - e / m)) - second - delta

    return 0.0 if excess(0) <= 0 else float(brentq(excess, 0, 1000, xtol=1e-12))


def sampled_epsilon(z: float, q: float, delta: float) -> float:
    """One Poisson-sampled release, add/remove: the tail where the likelihood ratio exceeds e^e."""

    def delta_of(e: float) -> float:
        # P = (1 - q) N(0, z^2) + q N(1, z^2) against Q = N(0, z^2): one more unit, ratio rises.
        x = z * z * math.log((math.exp(e) - 1 + q) / q) + 0.5
        more = (1 - q) * ndtr(-x / z) + q * ndtr((1 - x) / z) - math.exp(e) * ndtr(-x / z)
        if math.exp(-e) <= 1 - q:  # the other order: the ratio never gets that small
            return float(more)
        y = z * z * math.log((math.exp(-e) - 1 + q) / q) + 0.5
        fewer = ndtr(y / z) - math.exp(e) * ((1 - q) * ndtr(y / z) + q * ndtr((y - 1) / z))
        return float(max(more, fewer))

    if delta_of(0) <= delta:
        return 0.0
    return float(brentq(lambda e: delta_of(e) - delta, 0, 100, xtol=1e-12))


def tolerance(value: float) -> float:
    return 1e-4 + 1e-4 * value  # what `accountant` states


def test_known_figures() -> None:
    history = [(GaussianDpEvent(3.4), 40)]
    assert epsilon(history, 1e-4) == pytest.approx(8.10, abs=0.005)
    assert epsilon_rdp(history, 1e-4) == pytest.approx(8.82, abs=0.005)
    assert epsilon(history, 1e-4, "replace_one") == pytest.approx(20.07, abs=0.005)


@pytest.mark.parametrize("relation", ["zero_out", "replace_one"])
@pytest.mark.parametrize("delta", [1e-3, 1e-6])
@pytest.mark.parametrize(
    ("z", "releases"), [(200, 7), (50, 200), (10, 3), (3.4, 40), (1, 1), (0.8, 9), (0.5, 40)]
)
def test_pld_equals_the_closed_form_without_sampling(
    z: float, releases: int, delta: float, relation: Relation
) -> None:
    distance = 1.0 if relation == "zero_out" else 2.0
    exact = gaussian_epsilon(z, releases, delta, distance)
    pld = epsilon([(GaussianDpEvent(z), releases)], delta, relation)
    assert exact - 1e-9 <= pld <= exact + tolerance(exact)


@pytest.mark.parametrize("q", [0.001, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("z", [0.4, 1.0, 3.0])
def test_pld_equals_the_closed_form_of_one_sampled_release(z: float, q: float) -> None:
    exact = sampled_epsilon(z, q, 1e-5)
    assert exact - 1e-9 <= epsilon(sampled(z, q), 1e-5) <= exact + tolerance(exact)


GRID: list[tuple[list[tuple[DpEvent, int]], float]] = [
    ([(GaussianDpEvent(3.4), 40)], 1e-4),
    ([(sampled(0.9, 0.1), 20), (GaussianDpEvent(8.0), 1)], 1e-4),
    ([(sampled(1.55, 0.25), 100)], 1e-5),
    ([(sampled(0.6, 0.02), 200)], 1e-5),
    ([(sampled(20.0, 0.1), 200)], 1e-4),
    ([(sampled(1.0, 0.1), 5), (sampled(2.0, 0.3), 7), (GaussianDpEvent(4.0), 2)], 1e-6),
]


@pytest.mark.parametrize(("history", "delta"), GRID)
def test_accountants_agree(history: list[tuple[DpEvent, int]], delta: float) -> None:
    pld, rdp = epsilon(history, delta), epsilon_rdp(history, delta)
    prv = epsilon_prv(history, delta)
    assert pld <= rdp + tolerance(rdp)
    # PRV gives the upper end of an interval of +-0.01 around its estimate, at delta (1 - 1/1000).
    assert pld - tolerance(pld) <= prv <= pld + 0.021


def disagreement(relation: Relation) -> bool:
    history = [(GaussianDpEvent(3.4), 40)]
    pld = epsilon(history, 1e-4, relation)
    rdp, prv = epsilon_rdp(history, 1e-4, relation), epsilon_prv(history, 1e-4, relation)
    return not (pld <= rdp <= 1.15 * pld and abs(pld - prv) <= 0.021)


def test_conventions_of_the_relations_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not disagreement("zero_out")
    assert not disagreement("replace_one")
    # Untranslated, RDP and PRV would report 8.8 and 8.1 where 20.1 was spent.
    monkeypatch.setattr(accountant, "_unit_sensitivity", lambda steps, relation, group: steps)
    assert disagreement("replace_one")


@pytest.mark.parametrize("cost", [epsilon, epsilon_rdp, epsilon_prv])
def test_any_release_without_noise_is_infinite(cost: Callable[..., float]) -> None:
    for history in (
        NonPrivateDpEvent(),
        [(GaussianDpEvent(3.0), 2), (NonPrivateDpEvent(), 1)],
        GaussianDpEvent(0.0),
        [(GaussianDpEvent(5e-324), 1)],
        [(GaussianDpEvent(1e-9), 1)],  # so little that an upper bound of infinity is reported
    ):
        assert cost(history, 1e-5) == math.inf


@pytest.mark.parametrize("cost", [epsilon, epsilon_rdp, epsilon_prv])
def test_nothing_released_costs_nothing(cost: Callable[..., float]) -> None:
    for history in ([], NoOpDpEvent(), [(GaussianDpEvent(1.0), 0)]):
        assert cost(history, 1e-5) == 0


def test_compositions_nest() -> None:
    nested = ComposedDpEvent(
        [SelfComposedDpEvent(ComposedDpEvent([sampled(1.0, 0.1)]), 3), GaussianDpEvent(4.0)]
    )
    flat = [(sampled(1.0, 0.1), 6), (GaussianDpEvent(4.0), 2)]
    assert epsilon([(nested, 2)], 1e-5) == epsilon(flat, 1e-5)
    assert epsilon(nested, 1e-5) < epsilon(flat, 1e-5)


@pytest.mark.parametrize(("q", "counted"), [(5e-324, 1e-9), (1 - 1e-16, 1.0)])
def test_sampling_that_cannot_be_resolved_is_rounded_up(q: float, counted: float) -> None:
    history = [(sampled(0.2, q), 100)]
    assert epsilon(history, 1e-5) == epsilon([(sampled(0.2, counted), 100)], 1e-5)


def test_releases_of_one_sample_are_one_gaussian() -> None:
    joint = PoissonSampledDpEvent(
        0.1, ComposedDpEvent([GaussianDpEvent(3.0), GaussianDpEvent(4.0)])
    )
    assert epsilon([(joint, 7)], 1e-5) == epsilon([(sampled(2.4, 0.1), 7)], 1e-5)  # 3-4-5
    apart = [(sampled(3.0, 0.1), 7), (sampled(4.0, 0.1), 7)]
    assert epsilon([(joint, 7)], 1e-5) > epsilon(apart, 1e-5)  # one sample for both amplifies less
    alone = PoissonSampledDpEvent(0.1, ComposedDpEvent([GaussianDpEvent(2.0)]))
    assert epsilon(alone, 1e-5) == epsilon(sampled(2.0, 0.1), 1e-5)
    open_ = PoissonSampledDpEvent(
        0.1, ComposedDpEvent([GaussianDpEvent(2.0), GaussianDpEvent(0.0)])
    )
    assert epsilon(open_, 1e-5) == math.inf


def test_order_does_not_matter() -> None:
    history = [(sampled(1.0, 0.1), 6), (GaussianDpEvent(4.0), 2), (sampled(1.0, 0.1), 1)]
    assert epsilon(history, 1e-5) == epsilon(history[::-1], 1e-5)


@pytest.mark.parametrize("cost", [epsilon, epsilon_rdp, epsilon_prv])
@pytest.mark.parametrize(
    "event",
    [
        UnsupportedDpEvent(),
        LaplaceDpEvent(1.0),
        ZCDpEvent(0.1),
        PoissonSampledDpEvent(0.1, LaplaceDpEvent(1.0)),
        PoissonSampledDpEvent(0.1, ComposedDpEvent([])),
        PoissonSampledDpEvent(0.1, ComposedDpEvent([GaussianDpEvent(1.0), LaplaceDpEvent(1.0)])),
        PoissonSampledDpEvent(0.1, PoissonSampledDpEvent(0.1, GaussianDpEvent(1.0))),
        PoissonSampledDpEvent(0.0, GaussianDpEvent(1.0)),
        PoissonSampledDpEvent(1.5, GaussianDpEvent(1.0)),
        GaussianDpEvent(-1.0),
        GaussianDpEvent(math.nan),
        GaussianDpEvent(1e300),
        SelfComposedDpEvent(GaussianDpEvent(1.0), 10**400),
        SelfComposedDpEvent(GaussianDpEvent(1.0), -1),
        ComposedDpEvent([GaussianDpEvent(1.0), UnsupportedDpEvent()]),
    ],
)
def test_refuses_what_it_does_not_know(cost: Callable[..., float], event: DpEvent) -> None:
    with pytest.raises(ConfigError):
        cost(event, 1e-5)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_refuses_delta_out_of_range(delta: float) -> None:
    with pytest.raises(ConfigError, match="delta"):
        epsilon(GaussianDpEvent(1.0), delta)


def test_refuses_sampling_under_replace_one() -> None:
    with pytest.raises(ConfigError, match="zero_out only"):
        epsilon(sampled(1.0, 0.5), 1e-5, "replace_one")


def test_refuses_an_unknown_relation() -> None:
    with pytest.raises(ConfigError, match="neighbours"):
        epsilon(GaussianDpEvent(1.0), 1e-5, "neighbours")  # type: ignore[arg-type]


def test_default_delta() -> None:
    known = {1: 1e-1, 2: 1e-2, 11: 1e-2, 12: 1e-3, 943: 1e-4, 1111: 1e-4, 1112: 1e-5, 6038: 1e-5}
    for users, delta in known.items():
        assert default_delta(users) == delta
        assert delta <= 1 / (9 * users) < 10 * delta
    with pytest.raises(ConfigError, match="users"):
        default_delta(0)


def test_more_noise_costs_less() -> None:
    costs = [epsilon([(sampled(z / 10, 0.2), 30)], 1e-5) for z in range(6, 30)]
    assert all(a > b for a, b in pairwise(costs))
