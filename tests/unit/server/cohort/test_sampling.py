"""Poisson sampling: the law that the accountant amplifies by."""

import numpy as np
import pytest
from scipy import stats

from server.cohort.sampling import PoissonSampler
from shared.errors import ConfigError

USERS, EXPECTED, ROUNDS = 50, 10.0, 2000
NODES = list(range(100, 100 + USERS))


@pytest.fixture(scope="module")
def draws():
    sampler = PoissonSampler(EXPECTED, USERS, seed=1)
    return [sampler.draw(t, NODES) for t in range(1, ROUNDS + 1)]


def test_a_cohort_is_of_distinct_nodes_in_order(draws):
    for cohort in draws:
        assert cohort == sorted(set(cohort))
        assert set(cohort) <= set(NODES)


@pytest.mark.statistical
def test_sizes_are_binomial(draws):
    """Chi-square over the sizes; false alarms 1 in 10,000, and the seed is fixed."""
    sizes = np.array([len(cohort) for cohort in draws])
    law = stats.binom(USERS, EXPECTED / USERS)
    edges = [0, 6, 8, 9, 10, 11, 12, 14, USERS + 1]
    observed = np.histogram(sizes, edges)[0]
    chances = np.diff(law.cdf(np.array(edges) - 1))
    assert stats.chisquare(observed, ROUNDS * chances).pvalue > 1e-4
    deviation = (sizes.mean() - law.mean()) / (law.std() / np.sqrt(ROUNDS))
    assert abs(deviation) < stats.norm.isf(0.5e-4)
    assert sizes.var(ddof=1) == pytest.approx(law.var(), rel=0.15)  # 4.7 standard errors


@pytest.mark.statistical
def test_every_user_is_as_likely_and_pairs_are_independent(draws):
    """Each bound holds with a false-alarm rate of 1 in 10,000 over all users or pairs."""
    member = np.array([[node in set(cohort) for node in NODES] for cohort in draws])
    q = EXPECTED / USERS
    z = (member.mean(0) - q) / np.sqrt(q * (1 - q) / ROUNDS)
    assert np.abs(z).max() < stats.norm.isf(0.5e-4 / USERS)
    together = (member.T.astype(float) @ member)[np.triu_indices(USERS, 1)] / ROUNDS
    z = (together - q**2) / np.sqrt(q**2 * (1 - q**2) / ROUNDS)
    assert np.abs(z).max() < stats.norm.isf(0.5e-4 / len(z))


def test_depends_on_seed_and_round_alone():
    one, two = (PoissonSampler(EXPECTED, USERS, seed=7) for _ in range(2))
    assert one.draw(3, NODES) == two.draw(3, NODES)
    assert one.draw(3, NODES) != one.draw(4, NODES)
    assert one.draw(3, NODES) != PoissonSampler(EXPECTED, USERS, seed=8).draw(3, NODES)


def test_a_deployment_cannot_be_foreseen():
    one = PoissonSampler(EXPECTED, USERS, seed=None)
    assert one.draw(1, NODES) != one.draw(1, NODES)  # equal by chance once in 10^10


def test_everyone_when_all_are_expected():
    assert PoissonSampler(USERS, USERS, seed=0).draw(1, NODES) == NODES


def test_a_cohort_may_be_empty():
    sampler = PoissonSampler(0.01, USERS, seed=0)
    assert [] in [sampler.draw(t, NODES) for t in range(20)]


@pytest.mark.parametrize("expected", [0, -1, USERS + 1, float("nan")])
def test_an_impossible_expectation_is_refused(expected):
    with pytest.raises(ConfigError, match="expected cohort"):
        PoissonSampler(expected, USERS, seed=0)
