"""Shares of Skellam noise and their sums have exactly the distribution that is accounted for.

Every check compares a statistic with its exact or asymptotic null distribution at a level of 1e-7.
There are seven of them, so with a fresh key sound noise fails with probability below 1e-6; the
seeds here are fixed, so that it does not fail at all. Each planted bug must be found by the check
that is meant for it.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from shared.privacy.mechanisms.skellam import SkellamNoise, SkellamTable, thresholds
from shared.privacy.mechanisms.source import NoiseSource

LEVEL = 1e-7
ROUNDS, CLIENTS, DIM = 12, 9, 6000
SHARE = 3  # variance of one client's noise

pytestmark = pytest.mark.statistical

Shares = NDArray[np.int64]  # [rounds, clients, dim]
Draw = Callable[[int, int], NDArray[np.int64]]  # (round, client) -> [dim]


def findings(shares: Shares) -> set[str]:
    """Names of the properties that this noise does not have."""
    sums = shares.sum(1)  # [rounds, dim]
    p = {
        "share": chi_square_p(shares, SHARE),
        "sum": chi_square_p(sums, SHARE * CLIENTS),
        "std": variance_p(sums, SHARE * CLIENTS),
        "signs": stats.binomtest(int((shares > 0).sum()), int((shares != 0).sum())).pvalue,
        "rounds": correlation_p(shares[:-1], shares[1:]),
        "clients": correlation_p(shares[:, :-1], shares[:, 1:]),
        "coordinates": correlation_p(shares[..., :-1], shares[..., 1:]),
    }
    return {name for name, value in p.items() if value < LEVEL}


def chi_square_p(numbers: Shares, variance: float) -> float:
    """Pearson's test against the exact probabilities; cells that expect less than 10 are joined."""
    reach = int(12 * variance**0.5) + 12
    k = np.arange(-reach, reach + 1)
    expected = numbers.size * stats.skellam.pmf(k, variance / 2, variance / 2)
    counted = np.bincount(np.clip(numbers.ravel(), -reach, reach) + reach, minlength=len(k))
    kept = expected >= 10
    observed = np.append(counted[kept], counted[~kept].sum())
    wanted = np.append(expected[kept], expected[~kept].sum())
    return float(stats.chi2.sf(((observed - wanted) ** 2 / wanted).sum(), len(wanted) - 1))


def variance_p(numbers: Shares, variance: float) -> float:
    """X^2 has mean V and variance 2 V^2 + V."""
    score = (numbers**2 - variance).mean() * np.sqrt(numbers.size / (2 * variance**2 + variance))
    return float(2 * stats.norm.sf(abs(score)))


def correlation_p(left: Shares, right: Shares) -> float:
    """Products of independent shares have mean 0 and variance v^2."""
    products = left * right
    return float(2 * stats.norm.sf(abs(products.mean()) * np.sqrt(products.size) / SHARE))


def collect(draw: Draw) -> Shares:
    return np.stack([[draw(t, client) for client in range(CLIENTS)] for t in range(ROUNDS)])


def source(number: int, client: int) -> NoiseSource:
    return NoiseSource.seeded(5, "update", number, client)


def sound(number: int, client: int) -> NDArray[np.int64]:
    return SkellamNoise(SHARE).draw(source(number, client), DIM)


def test_seeded_noise_is_what_was_accounted() -> None:
    assert findings(collect(sound)) == set()


def test_secure_noise_is_too() -> None:
    # A fresh key every time: false alarms once in more than a million runs.
    assert findings(collect(lambda t, client: SkellamNoise(SHARE).draw(secure(), DIM))) == set()


def secure() -> NoiseSource:
    return NoiseSource.secure()


def test_large_noise_is_too() -> None:
    """Of the size that runs have, where every look-up goes through the guide table."""
    numbers = SkellamNoise(9000).draw(NoiseSource.seeded(6), 400_000)
    assert chi_square_p(numbers, 9000) > LEVEL
    assert variance_p(numbers, 9000) > LEVEL


# Negative controls.


def half_noise(number: int, client: int) -> NDArray[np.int64]:
    """Half of the standard deviation, as near as a whole variance comes to it."""
    return SkellamNoise(1).draw(source(number, client), DIM)


def noise_on_the_mean(number: int, client: int) -> NDArray[np.int64]:
    """Only one of the cohort adds its share."""
    return sound(number, client) * (client == 0)


def reused_seed(number: int, client: int) -> NDArray[np.int64]:
    return sound(0, client)


def one_seed_for_all_clients(number: int, client: int) -> NDArray[np.int64]:
    return sound(number, 0)


def one_number_for_two(number: int, client: int) -> NDArray[np.int64]:
    return np.repeat(SkellamNoise(SHARE).draw(source(number, client), DIM // 2), 2)


def rounded_gaussian(number: int, client: int) -> NDArray[np.int64]:
    """Of the right variance after rounding, which adds 1/12."""
    normal = source(number, client).normal(DIM) * np.sqrt(SHARE - 1 / 12)
    return np.rint(normal).astype(np.int64)


def table_off_by_one(number: int, client: int) -> NDArray[np.int64]:
    table = SkellamTable([0, *thresholds(SHARE)])
    return table.draw(source(number, client), DIM)


def one_probability_too_small(number: int, client: int) -> NDArray[np.int64]:
    """Two hundredths of the mass at 3 are counted to 2."""
    limits = thresholds(SHARE)
    limits[2] += (limits[3] - limits[2]) // 50
    return SkellamTable(limits).draw(source(number, client), DIM)


def magnitudes_only(number: int, client: int) -> NDArray[np.int64]:
    return np.abs(sound(number, client))


@pytest.mark.parametrize(
    ("planted", "found_by"),
    [
        (half_noise, {"share", "sum", "std"}),
        (noise_on_the_mean, {"share", "sum", "std"}),
        (reused_seed, {"rounds"}),
        (one_seed_for_all_clients, {"clients", "sum", "std"}),
        (one_number_for_two, {"coordinates"}),
        (rounded_gaussian, {"share"}),
        (table_off_by_one, {"share", "sum", "std"}),
        (one_probability_too_small, {"share"}),
        (magnitudes_only, {"signs"}),
    ],
)
def test_planted_bugs_are_found(planted: Draw, found_by: set[str]) -> None:
    assert found_by <= findings(collect(planted))
