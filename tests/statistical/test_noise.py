"""The released noise has the distribution that was accounted for.

Every check compares a statistic with its exact or asymptotic null distribution at a level of
1e-7. There are seven of them, so with a fresh key a sound mechanism fails with probability below
1e-6; the seeds here are fixed, so that it does not fail at all. Each planted bug must be found by
the check that is meant for it.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource

LEVEL = 1e-7
ROUNDS, DIM, COHORT = 30, 4000, 50
Z, C = 1.3, 0.4
TOTAL = np.linspace(-2.0, 2.0, DIM)

pytestmark = pytest.mark.statistical

Releases = NDArray[np.float64]  # [rounds, dim]


def findings(released: Releases) -> set[str]:
    """Names of the properties that the noise in these releases does not have."""
    noise = (released - TOTAL) / (Z * C)  # standard normal, if all is well
    n = noise.size
    p = {
        "mean": 2 * stats.norm.sf(abs(noise.mean()) * np.sqrt(n)),
        "std": two_sided(stats.chi2(n).cdf((noise**2).sum())),
        "normality": stats.kstest(noise.ravel(), "norm").pvalue,
        "tails": stats.binomtest(int((abs(noise) > 3).sum()), n, 2 * stats.norm.sf(3)).pvalue,
        "signs": stats.binomtest(int((noise > 0).sum()), n).pvalue,
        "rounds": correlation_p(noise[:-1], noise[1:]),
        "coordinates": correlation_p(noise[:, :-1], noise[:, 1:]),
    }
    return {name for name, value in p.items() if value < LEVEL}


def two_sided(cdf: float) -> float:
    return 2 * min(cdf, 1 - cdf)


def correlation_p(left: Releases, right: Releases) -> float:
    """Products of independent standard normals have mean 0 and variance 1."""
    products = left * right
    return float(2 * stats.norm.sf(abs(products.mean()) * np.sqrt(products.size)))


def mechanism() -> GaussianMechanism:
    return GaussianMechanism(Z, L2Clip(C))


def sound(number: int) -> NDArray[np.float64]:
    return mechanism().release(TOTAL, NoiseSource.seeded(11, "update", number))


def collect(release: Callable[[int], NDArray[np.float64]]) -> Releases:
    return np.stack([release(number) for number in range(ROUNDS)])


def test_seeded_noise_is_what_was_accounted() -> None:
    assert findings(collect(sound)) == set()


def test_one_source_over_all_rounds_is_too() -> None:
    source = NoiseSource.seeded(12)
    assert findings(collect(lambda _: mechanism().release(TOTAL, source))) == set()


def test_secure_noise_is_too() -> None:
    # A fresh key every time: false alarms once in more than a million runs.
    source = NoiseSource.secure()
    assert findings(collect(lambda _: mechanism().release(TOTAL, source))) == set()


# Negative controls.


def half_noise(number: int) -> NDArray[np.float64]:
    return GaussianMechanism(Z / 2, L2Clip(C)).release(TOTAL, NoiseSource.seeded(11, number))


def two_percent_less(number: int) -> NDArray[np.float64]:
    return GaussianMechanism(Z * 0.98, L2Clip(C)).release(TOTAL, NoiseSource.seeded(11, number))


def reused_seed(number: int) -> NDArray[np.float64]:
    return mechanism().release(TOTAL, NoiseSource.seeded(11, "update"))


def noise_on_the_mean(number: int) -> NDArray[np.float64]:
    """Scaled to one contribution over the cohort, then multiplied back: K times too little."""
    source = NoiseSource.seeded(11, number)
    return TOTAL + Z * C / COHORT * source.normal(DIM)


def one_number_for_all(number: int) -> NDArray[np.float64]:
    return TOTAL + Z * C * np.repeat(NoiseSource.seeded(11, number).normal(DIM // 2), 2)


def uniform_noise(number: int) -> NDArray[np.float64]:
    drawn = stats.norm.cdf(NoiseSource.seeded(11, number).normal(DIM))
    return TOTAL + Z * C * (drawn - 0.5) * np.sqrt(12)


def truncated_noise(number: int) -> NDArray[np.float64]:
    return TOTAL + Z * C * np.clip(NoiseSource.seeded(11, number).normal(DIM), -2.99, 2.99)


def magnitudes_only(number: int) -> NDArray[np.float64]:
    return TOTAL + Z * C * np.abs(NoiseSource.seeded(11, number).normal(DIM))


def shifted(number: int) -> NDArray[np.float64]:
    return sound(number) + 0.05 * Z * C


@pytest.mark.parametrize(
    ("planted", "found_by"),
    [
        (half_noise, "std"),
        (two_percent_less, "std"),
        (reused_seed, "rounds"),
        (noise_on_the_mean, "std"),
        (one_number_for_all, "coordinates"),
        (uniform_noise, "normality"),
        (truncated_noise, "tails"),
        (magnitudes_only, "signs"),
        (shifted, "mean"),
    ],
)
def test_planted_bugs_are_found(
    planted: Callable[[int], NDArray[np.float64]], found_by: str
) -> None:
    assert found_by in findings(collect(planted))
