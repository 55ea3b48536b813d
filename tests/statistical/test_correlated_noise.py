"""The noise that is released has the covariance over rounds that was accounted for.

C times the released noise must be independent standard normal numbers, whatever the round and the
coordinate. Each check has a level of 1e-7 (over rounds and pairs of rounds by Bonferroni), so with
a fresh key a sound mechanism fails with probability below 1e-6; but for one test the seeds are
fixed. Each planted bug must be found by the check that is meant for it.
"""

import os
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.correlated import CorrelatedMechanism, CorrelatedNoise
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.mechanisms.toeplitz import banded_square_root

LEVEL = 1e-7
ROUNDS, DIM = 12, 6000
Z, C = 1.3, 0.4
TOTAL = np.linspace(-2.0, 2.0, DIM)
MATRIX = banded_square_root(ROUNDS, 4, 0.5)
MECHANISM = CorrelatedMechanism(Z, L2Clip(C), MATRIX, participations=3, separation=4)
SCALE = Z * MECHANISM.sensitivity * C

pytestmark = pytest.mark.statistical

Released = NDArray[np.float64]  # [rounds, dim]


def findings(released: Released) -> set[str]:
    """Names of the properties that the noise in these releases does not have."""
    noise = (released - TOTAL) / SCALE
    white = MATRIX.dense() @ noise  # [rounds, dim], standard normal if all is well
    squares = stats.chi2(DIM).cdf((white**2).sum(axis=1))  # [rounds]
    pairs = [correlation_p(white[i], white[j]) for i, j in combinations(range(ROUNDS), 2)]
    whole = stats.multivariate_normal(np.zeros(ROUNDS), covariance())
    p = {
        "variances": ROUNDS * min(two_sided(cdf) for cdf in squares),
        "covariance": len(pairs) * min(pairs),
        "coordinates": correlation_p(white[:, :-1], white[:, 1:]),
        "normality": stats.kstest(white.ravel(), "norm").pvalue,
        "likelihood": two_sided(stats.chi2(white.size).cdf(distance(noise, whole))),
    }
    return {name for name, value in p.items() if value < LEVEL}


def covariance() -> Released:
    """C^-1 C^-T, by another route than the code's."""
    gram = MATRIX.dense().T @ MATRIX.dense()
    inverse: Released = np.linalg.inv(gram)
    return inverse


def distance(noise: Released, law: stats._multivariate.multivariate_normal_frozen) -> float:
    """Summed squared Mahalanobis distances, from the density that the covariance gives."""
    peak = law.logpdf(np.zeros(ROUNDS))
    return float(2 * (peak - law.logpdf(noise.T)).sum())


def two_sided(cdf: float) -> float:
    return 2 * min(cdf, 1 - cdf)


def correlation_p(left: Released, right: Released) -> float:
    products = left * right  # of independent standard normals: mean 0, variance 1
    return float(2 * stats.norm.sf(abs(products.mean()) * np.sqrt(products.size)))


def rows(seed: int = 3) -> CorrelatedNoise:
    return CorrelatedNoise(MATRIX, lambda t: NoiseSource.seeded(seed, "training", t))


def collect(release: Callable[[int], NDArray[np.float64]]) -> Released:
    return np.stack([release(number) for number in range(1, ROUNDS + 1)])


def test_seeded_noise_is_what_was_accounted() -> None:
    noise = rows()
    assert findings(collect(lambda t: MECHANISM.release(TOTAL, noise.row(t)))) == set()


def test_noise_from_a_secret_key_is_too() -> None:
    # A fresh key every time: false alarms once in more than a million runs.
    key = os.urandom(32)
    noise = CorrelatedNoise(MATRIX, lambda t: NoiseSource.kept(key, "row", t))
    assert findings(collect(lambda t: MECHANISM.release(TOTAL, noise.row(t)))) == set()


def test_a_restart_at_every_round_changes_nothing() -> None:
    """Fresh objects, as after a restart, go on with the same rows, bit by bit."""
    noise = rows()
    whole = collect(lambda t: MECHANISM.release(TOTAL, noise.row(t)))
    again = collect(lambda t: MECHANISM.release(TOTAL, rows().row(t)))
    np.testing.assert_array_equal(again, whole)


# Negative controls.


def half_noise() -> Released:
    weak = CorrelatedMechanism(Z / 2, L2Clip(C), MATRIX, 3, 4)
    noise = rows()
    return collect(lambda t: weak.release(TOTAL, noise.row(t)))


def two_percent_less() -> Released:
    weak = CorrelatedMechanism(Z * 0.98, L2Clip(C), MATRIX, 3, 4)
    noise = rows()
    return collect(lambda t: weak.release(TOTAL, noise.row(t)))


def one_participation_for_three() -> Released:
    weak = CorrelatedMechanism(Z, L2Clip(C), MATRIX, 1, 4)
    noise = rows()
    return collect(lambda t: weak.release(TOTAL, noise.row(t)))


def independent() -> Released:
    plain = GaussianMechanism(Z * MECHANISM.sensitivity, L2Clip(C))
    return collect(lambda t: plain.release(TOTAL, NoiseSource.seeded(3, "training", t)))


def shifted_row() -> Released:
    """Every round gets the row of the next one."""
    longer = CorrelatedNoise(
        banded_square_root(ROUNDS + 1, 4, 0.5), lambda t: NoiseSource.seeded(3, "training", t)
    )
    return collect(lambda t: MECHANISM.release(TOTAL, longer.row(t + 1)))


def reused_row() -> Released:
    """Round 6 is released with the row of round 5 once more."""
    noise = rows()
    return collect(lambda t: MECHANISM.release(TOTAL, noise.row(5 if t == 6 else t)))


def fresh_after_a_restart() -> Released:
    """From round 7 on another key, as if the first had been lost."""
    first, second = rows(), rows(seed=4)
    return collect(lambda t: MECHANISM.release(TOTAL, (first if t < 7 else second).row(t)))


def forgotten_after_a_restart() -> Released:
    """The right rows of Z, but from round 7 on nothing is known of the rows before."""
    first = rows()
    second = CorrelatedNoise(MATRIX, lambda t: NoiseSource.seeded(3, "training", t + 6))
    return collect(lambda t: MECHANISM.release(TOTAL, first.row(t) if t < 7 else second.row(t - 6)))


def one_number_for_two() -> Released:
    def twice(t: int) -> NoiseSource:
        source = NoiseSource.seeded(3, t)
        drawn = source.normal
        source.normal = lambda size: np.repeat(drawn(size // 2), 2)  # type: ignore[method-assign]
        return source

    noise = CorrelatedNoise(MATRIX, twice)
    return collect(lambda t: MECHANISM.release(TOTAL, noise.row(t)))


@pytest.mark.parametrize(
    ("planted", "found_by"),
    [
        (half_noise, "variances"),
        (two_percent_less, "likelihood"),
        (one_participation_for_three, "variances"),
        (independent, "covariance"),
        (shifted_row, "variances"),
        (reused_row, "covariance"),
        (fresh_after_a_restart, "variances"),
        (forgotten_after_a_restart, "covariance"),
        (one_number_for_two, "coordinates"),
    ],
)
def test_planted_bugs_are_found(planted: Callable[[], Released], found_by: str) -> None:
    assert found_by in findings(planted())
