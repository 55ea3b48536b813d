"""Several runs under one budget: what each may cost, against Gaussians that compose in closed form.

A sum with noise z is (1 / z)-GDP and K of them (sqrt(K) / z)-GDP (Dong, Roth, Su 2022), whose delta
at an epsilon is Balle and Wang's (2018).
"""

import math
from dataclasses import replace

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from scipy.optimize import brentq
from scipy.stats import norm

from shared.errors import ConfigError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.guarantee import USER_CENTRAL, USER_SCHEDULED, in_sums
from shared.privacy.ledger.ledger import Ledger, LedgerHeader
from shared.privacy.ledger.together import spent_together
from shared.privacy.plan.several import budget_of_each, cost_of_all, same_promise
from tests.support.privacy.guarantees import promised
from tests.unit.shared.privacy.plan.test_plan import USERS, point, server_plan

DELTA = 1e-4


def epsilon_of_gaussians(mu: float) -> float:
    def excess(eps: float) -> float:
        return norm.cdf(mu / 2 - eps / mu) - math.exp(eps) * norm.cdf(-mu / 2 - eps / mu) - DELTA

    return float(brentq(excess, 1e-6, 200))


def plans(count, **settings):
    """By the epsilon of each; of everybody in every round."""
    whole = {"cohort": float(USERS), "popularity_start": False, "rounds": 3}

    def at(epsilon):
        made = point(epsilon=epsilon, federation=whole, delta=DELTA, **settings)
        return [server_plan(made, USERS)] * count

    return at


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_runs_together_keep_the_budget_and_one_part_more_does_not(count):
    at = plans(count)
    each = budget_of_each(at, 6.0)
    assert cost_of_all(at(each)) <= 6.0
    if count == 1:
        assert each == 6.0
        return
    assert cost_of_all(at(each + 0.006)) > 6.0
    mu = math.sqrt(3) / at(each)[0].noise_multiplier
    assert epsilon_of_gaussians(mu) == pytest.approx(each, rel=1e-3)
    assert epsilon_of_gaussians(mu * math.sqrt(count)) == pytest.approx(6.0, rel=3e-3)
    assert 6 / count < each < 6  # composed, not added up


def test_so_little_for_each_that_no_noise_gives_it_is_refused():
    with pytest.raises(ConfigError, match=r"expected at least 0\.001"):
        budget_of_each(plans(2), 1.2e-3)


@pytest.mark.parametrize("name", ["unit", "relation", "trust", "group", "delta"])
def test_what_is_counted_in_two_ways_is_not_added_up(name, tmp_path):
    other = {"unit": "example", "relation": "replace_one", "trust": "distributed"}
    told = promised()
    odd = replace(told, **{name: {**other, "group": 2, "delta": told.delta / 10}[name]})
    both = [
        Ledger.create(tmp_path / f"ledger-{at}.jsonl", LedgerHeader(each, "0" * 64))
        for at, each in enumerate((told, odd))
    ]
    with pytest.raises(ConfigError, match=f"{name} = "):
        spent_together(both)


def test_the_fewest_devices_in_any_run_are_what_all_promise():
    """Sums of two devices in one run tell more than those of 240 in the other."""
    runs = [promised(adversary=in_sums(USER_CENTRAL, fewest, 0.1)) for fewest in (240, 2)]
    assert same_promise(runs).adversary == same_promise(runs[::-1]).adversary == runs[1].adversary
    clear = promised(adversary=USER_CENTRAL)
    assert same_promise([runs[0], clear]).adversary == USER_CENTRAL
    with pytest.raises(ConfigError, match="adversary differs"):
        same_promise([clear, promised(adversary=USER_SCHEDULED)])


def test_what_asks_the_same_people_twice_costs_more_than_the_sum():
    """Why each run has a seed of its own: two with one cohort are one release of half the noise."""
    q, z, runs = 0.02, 0.8, 4
    own = epsilon([(PoissonSampledDpEvent(q, GaussianDpEvent(z)), runs)], DELTA, "zero_out", 1)
    one = PoissonSampledDpEvent(q, GaussianDpEvent(z / runs**0.5))
    assert epsilon([(one, 1)], DELTA, "zero_out", 1) > 5 * own


def test_ledgers_together_cost_what_their_gaussians_do(tmp_path):
    zs = (3.0, 2.0, 2.5)
    ledgers = []
    for at, z in enumerate(zs):
        header = LedgerHeader(promised(budget=50.0), f"{at}" * 64)
        ledgers.append(Ledger.create(tmp_path / f"ledger-{at}.jsonl", header))
        for number in (1, 2):
            ledgers[-1].append(number, "update", GaussianDpEvent(z))
    found = spent_together(ledgers)
    mu = math.sqrt(sum(2 / z**2 for z in zs))
    assert found.guarantee.delta == DELTA
    assert found.epsilon == pytest.approx(epsilon_of_gaussians(mu), rel=1e-3)
    assert found.epsilon <= found.epsilon_rdp
    assert found.epsilon_prv == pytest.approx(found.epsilon, abs=0.03)
    assert found.epsilon > max(ledger.epsilon() for ledger in ledgers)
