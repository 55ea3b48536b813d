"""Released metrics are unbiased, their error is the stated one, their intervals hold the truth.

Each check compares 3,000 releases with its null distribution at a level of 1e-7. There are six, so
with fresh keys a sound release fails with probability below 1e-6 (the seeds are fixed). Where a
sample is asked, intervals of NDCG are wider than needed and only too few hits count against them.
"""

import math

import numpy as np
import pytest
from scipy import stats

from shared.privacy.contribution.evaluation import (
    METRICS_CLIP,
    estimate_metrics,
    metric_contributions,
)
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource

LEVEL = 1e-7
RELEASES, PEOPLE, Z = 3000, 900, 4.0

pytestmark = pytest.mark.statistical


def population():
    rng = np.random.default_rng(2)
    ranks = np.where(rng.random(PEOPLE) < 0.3, rng.integers(0, 10, PEOPLE), 40)
    return metric_contributions(ranks.tolist()).astype(np.float64)


def releases(q, release, stated_q):
    """Estimates of many releases, and the exact values."""
    people, rng = population(), np.random.default_rng(7)
    truth = people.mean(axis=0)[:2] + 0.5
    found = []
    for number in range(RELEASES):
        total = people[rng.random(PEOPLE) < q].sum(axis=0) if q < 1 else people.sum(axis=0)
        found.append(estimate_metrics(release(total, number), Z, stated_q))
    return found, truth


def findings(q, release, stated_q=None) -> set[str]:
    found, truth = releases(q, release, stated_q or q)
    hit = [one.metrics["hr@10"] for one in found]
    gain = [one.metrics["ndcg@10"] for one in found]
    errors = np.array([(one.value - truth[0]) / one.standard_error for one in hit])
    users = np.array([one.users for one in found]) - q * PEOPLE
    deviation = math.sqrt((2 * Z * METRICS_CLIP.norm) ** 2 + PEOPLE * q * (1 - q))
    covered = [
        sum(one.low <= exact <= one.high for one in kind)
        for kind, exact in ((hit, truth[0]), (gain, truth[1]))
    ]
    p = {
        # A ratio's own bias is of second order: far below one standard error over 55.
        "bias": 2 * stats.norm.sf(abs(errors.mean()) * math.sqrt(RELEASES)),
        "error": two_sided(stats.chi2(RELEASES).cdf(((errors - errors.mean()) ** 2).sum())),
        "users": 2 * stats.norm.sf(abs(users.mean()) / deviation * math.sqrt(RELEASES)),
        "spread": two_sided(stats.chi2(RELEASES).cdf(((users / deviation) ** 2).sum())),
        "hits covered": stats.binomtest(covered[0], RELEASES, 0.95).pvalue,
        "gains covered": stats.binomtest(covered[1], RELEASES, 0.95, "less").pvalue,
    }
    return {name for name, value in p.items() if value < LEVEL}


def two_sided(cdf: float) -> float:
    return 2 * min(cdf, 1 - cdf)


def noise(number):
    return NoiseSource.seeded(3, "metrics", number)


def sound(total, number):
    return GaussianMechanism(Z, METRICS_CLIP).release(total, noise(number))


@pytest.mark.parametrize("q", [1.0, 0.6])
def test_a_release_is_what_it_states(q):
    assert findings(q, sound) == set()


def half_noise(total, number):
    return GaussianMechanism(Z / 2, METRICS_CLIP).release(total, noise(number))


def noise_of_another_sensitivity(total, number):
    """As if every coordinate reached 1."""
    return total + Z * math.sqrt(3) * noise(number).normal(3)


def the_count_is_exact(total, number):
    return np.append(sound(total, number)[:2], total[2])


def not_centred(total, number):
    return sound(total + total[2] * np.array([1.0, 1.0, 0.0]), number)


def one_seed_for_all(total, number):
    return sound(total, 0)


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        (half_noise, "error"),
        (half_noise, "hits covered"),
        (noise_of_another_sensitivity, "error"),
        (noise_of_another_sensitivity, "gains covered"),
        (the_count_is_exact, "spread"),
        (not_centred, "bias"),
        (one_seed_for_all, "users"),
    ],
)
def test_planted_bugs_are_found(planted, found):
    assert found in findings(1.0, planted)


def test_an_error_that_forgets_who_was_not_asked_is_found_out():
    assert {"error", "hits covered"} <= findings(0.3, sound, stated_q=1.0)
