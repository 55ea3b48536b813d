"""Bounds that attacks give stay below what is true, and are not blunt.

A bound at 95 % is above the truth in at most one of twenty; in 20 tries five or more are so with
probability 0.003, if the bounds were as tight as they may be (they are not).
"""

import numpy as np
import pytest

from shared.privacy.guarantee import Guarantee
from simulations.audit.attacks.halves import memberships
from simulations.audit.attacks.membership import lira, rmia
from simulations.audit.attacks.reconstruction import by_histogram, findings, leaks
from simulations.audit.attacks.views import View
from simulations.audit.evidence import best
from simulations.audit.findings import Decision, judged
from tests.support.auditing.audited import shift_of

DELTA, TRIES = 1e-4, 20
FINE = 1e-9  # at which a hundred people leave risk enough to decide


def bounds(epsilon, attack):
    """Of runs whose signals are a Gaussian mechanism's at that epsilon."""
    found = []
    for seed in range(TRIES):
        random = np.random.default_rng(seed)
        bits = memberships(8, 500, seed)
        signal = random.normal(size=500) + random.normal(size=bits.shape)
        signal += shift_of(epsilon, DELTA) * bits
        found.append(best(attack([signal], bits, 0), bits[0], DELTA, 0.95))
    return np.array(found)


@pytest.mark.parametrize("attack", [rmia, lira])
@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_a_bound_from_membership_is_below_the_truth(attack, epsilon):
    assert (bounds(epsilon, attack) > epsilon).sum() <= 4


@pytest.mark.parametrize("attack", [rmia, lira])
def test_a_bound_from_membership_is_not_blunt(attack):
    assert np.median(bounds(8.0, attack)) > 0.5
    assert np.median(bounds(30.0, attack)) > 2


def histograms(noise, seed, people=100, items=50):
    """A view of everyone's share of one item, alone, with so much noise."""
    random = np.random.default_rng(seed)
    shares = np.eye(items)[random.integers(items, size=people)]
    promised = Guarantee("user", "zero_out", "central", "anyone", FINE, 1, 1.0)

    def opened(rows, draw):
        return rows.sum(0) + noise * np.random.default_rng((seed, draw)).normal(size=items)

    views = [View("released", 1, opened, promised)]
    mine = [np.flatnonzero(share) for share in shares]
    (leak,) = leaks(shares, mine, items, views, {"histogram": by_histogram}, seed=seed)
    return findings([leak], views)[0]


def test_a_sum_with_its_noise_holds_and_one_with_hardly_any_is_flagged():
    enough = 1 / shift_of(1.0, FINE)
    right = [histograms(enough, seed).verdict for seed in range(TRIES)]
    wrong = [histograms(enough / 30, seed).verdict for seed in range(TRIES)]
    assert right.count("violated") == 0
    assert right.count("holds") >= TRIES - 4
    assert wrong.count("violated") >= TRIES - 2


def test_a_verdict_follows_from_bound_claim_and_power():
    promised = Guarantee("user", "zero_out", "central", "anyone", DELTA, 1, 2.0)

    def verdict(bound, deciding, most, claimed=2.0):
        return judged(bound, 9.0, promised, Decision(deciding, most, claimed, DELTA))[0]

    assert verdict(2.5, 2.1, 4.0) == "violated"
    assert verdict(2.5, 2.1, 4.0, claimed=2.2) == "not shown"  # of a claim at another delta
    assert verdict(2.5, 1.9, 4.0) == "not shown"  # one in twenty is so by chance
    assert verdict(1.5, 1.2, 4.0) == "holds"
    assert verdict(1.5, 1.2, 1.9) == "not shown"
    assert judged(9.0, 9.0, promised)[0] == "not shown"
    assert judged(9.0, 9.0, None, Decision(9.0, 9.0, 2.0, DELTA))[0] == "not shown"
