"""Logged propensities are the chances with which slates are drawn: 100,000 draws of each policy.

Every chi-square test fails by chance 1 time in 1,000, and the seeds are fixed.
"""

import itertools

import numpy as np
import pytest
from scipy import stats

from client.serving.exploration import NAMES, Beliefs, chances_of, draw, propensities
from client.serving.exploration.policies import STRATA, STRENGTHS, strata_of

pytestmark = pytest.mark.statistical

ITEMS, PLACES, DRAWS = 10, 2, 100_000
FALSE_ALARM = 1e-3
WIDE = {"softmax": 0.3, "epsilon_greedy": 0.4, "stratified": 0.5}


@pytest.fixture(scope="module")
def beliefs():
    rng = np.random.default_rng(1)
    mean = rng.normal(0.3, 0.2, ITEMS)
    return Beliefs(mean, rng.random(ITEMS) / 5, mean + rng.normal(0, 0.2, (16, ITEMS)), -mean)


OPEN = np.ones(ITEMS, bool)
OPEN[[2, 7]] = False


def drawn(name, beliefs, seed=0):
    chances = chances_of(name, beliefs, WIDE.get(name))
    many = np.broadcast_to(OPEN, (DRAWS, ITEMS))
    return chances, *draw(chances, many, PLACES, np.random.default_rng(seed))


def p_value(items, logged, expected):
    """Of all ordered slates: how often each was drawn, against its propensity in the log."""
    keys, inverse = np.unique(items @ [ITEMS, 1], return_inverse=True)
    counts = np.bincount(inverse)
    given = np.zeros(len(keys))
    given[inverse] = logged.prod(-1)
    rest = DRAWS - counts.sum(), max(0.0, 1 - given.sum())
    counts, given = np.append(counts, rest[0]), np.append(given, rest[1])
    if expected == 1:  # one slate alone
        return float(counts[0] == DRAWS and given[0] == 1)
    kept = given * DRAWS >= 5  # the others together: what chi-square can judge
    observed = np.append(counts[kept], counts[~kept].sum())
    wanted = np.append(given[kept], 1 - given[kept].sum()) * DRAWS
    if wanted[-1] < 1e-6:
        observed, wanted = observed[:-1], wanted[:-1]
    return stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue


@pytest.mark.parametrize("name", NAMES)
def test_frequencies_of_slates_are_their_logged_propensities(name, beliefs):
    chances, items, logged = drawn(name, beliefs)
    assert OPEN[items].all()
    assert (items[:, 0] != items[:, 1]).all()
    again = propensities(chances, items[:500], OPEN)  # by the formula, place by place
    np.testing.assert_allclose(logged[:500], again, rtol=1e-12)
    slates = 1 if name in ("greedy", "linucb") else 56
    assert len(np.unique(items @ [ITEMS, 1])) <= slates
    assert p_value(items, logged, slates) >= FALSE_ALARM


def test_a_wrong_propensity_is_seen(beliefs):
    """Planted: what is logged forgets that the items above are gone."""
    chances, items, _ = drawn("softmax", beliefs)
    forgetful = chances(OPEN)[items]
    assert p_value(items, forgetful, 56) < 1e-12


def test_softmax_is_the_law_of_the_largest_after_gumbel_noise(beliefs):
    """An independent program of Plackett and Luce's law: sort by score plus Gumbel noise."""
    noise = np.random.default_rng(5).gumbel(size=(DRAWS, ITEMS))
    keys = np.where(OPEN, beliefs.mean / WIDE["softmax"] + noise, -np.inf)
    items = np.argsort(-keys, axis=1)[:, :PLACES]
    chances = chances_of("softmax", beliefs, WIDE["softmax"])
    logged = propensities(chances, items, OPEN)
    assert p_value(items, logged, 56) >= FALSE_ALARM


def test_the_value_of_another_policy_is_found_from_the_log_alone(beliefs):
    """Weighting by the logged propensities: what they are logged for."""
    truth = np.random.default_rng(8).random(ITEMS) * 0.6
    _, items, logged = drawn("thompson", beliefs)
    clicks = np.random.default_rng(9).random(items.shape) < truth[items]
    other = chances_of("softmax", beliefs, 0.2)
    weight = np.cumprod(propensities(other, items, OPEN) / logged, axis=1)
    values = (weight * clicks).sum(1)
    exact = 0.0
    for slate in itertools.permutations(np.flatnonzero(OPEN), PLACES):
        exact += propensities(other, np.array(slate), OPEN).prod() * truth[list(slate)].sum()
    error = values.std() / np.sqrt(DRAWS)
    assert abs(values.mean() - exact) < stats.norm.isf(FALSE_ALARM / 2) * error
    assert abs(clicks.sum(1).mean() - exact) > 5 * error  # the plain average is another value


def test_the_tail_is_explored_as_often_as_the_head(beliefs):
    _, items, _ = drawn("stratified", beliefs)
    strata = strata_of(beliefs.popularity)
    best = np.where(OPEN, beliefs.mean, -np.inf).argmax()
    counts = np.bincount(strata[items[items[:, 0] != best, 0]], minlength=STRATA)
    assert (np.bincount(strata) >= 2).all()
    others = np.bincount(strata[OPEN & (np.arange(ITEMS) != best)], minlength=STRATA)
    mine = strata[best]
    whole = [s for s in range(STRATA) if s != mine]
    assert stats.chisquare(counts[whole]).pvalue >= FALSE_ALARM
    assert counts[mine] < counts[whole].min() or others[mine] == 0


def test_every_strength_has_a_default_within_its_range():
    assert all(0 <= usual <= most for _, usual, most in STRENGTHS.values())
