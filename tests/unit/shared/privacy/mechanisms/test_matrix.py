"""The noise matrix against brute force, dense algebra and published numbers."""

import math
from fractions import Fraction
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.privacy.mechanisms.toeplitz import (
    BandedToeplitz,
    banded_square_root,
    most_participations,
    server_workload,
)

# Landau's constants G_0, G_1, ...: G_n = sum over k <= n of (binomial(2k, k) / 4^k)^2, tabulated as
# exact fractions: numerators OEIS A277233, denominators OEIS A056982 (the numbers of E. Landau,
# Arch. Math. Phys. 21 (1913); G. N. Watson, Quart. J. Math. 1 (1930)).
LANDAU = [
    Fraction(*pair)
    for pair in [
        (1, 1),
        (5, 4),
        (89, 64),
        (381, 256),
        (25609, 16384),
        (106405, 65536),
        (1755841, 1048576),
        (7207405, 4194304),
        (1886504905, 1073741824),
        (7693763645, 4294967296),
        (125233642041, 68719476736),
        (508710104205, 274877906944),
        (33014475398641, 17592186044416),
        (133748096600189, 70368744177664),
        (2165115508033649, 1125899906842624),
        (8754452051708621, 4503599627370496),
        (9054883309760265929, 4611686018427387904),
        (36559890613417481741, 18446744073709551616),
        (590105629859261338481, 295147905179352825856),
        (2379942639329101454549, 1180591620717411303424),
    ]
]
WATSON = 1.0662758532089143543  # G_n - log(n + 1) / pi tends to (gamma + log 16) / pi


@pytest.mark.parametrize("n", range(1, 21))
def test_one_participation_is_landaus_table(n: int) -> None:
    """Full square root, prefix sums, k = 1: squared sensitivity = largest variance = G_{n-1}.

    The loss of this factorisation, sensitivity times largest error, is therefore G_{n-1}, too
    (Fichtenberger et al. 2023; optimal among Toeplitz ones, Dvijotham et al. 2024).
    """
    matrix = banded_square_root(n, n)
    wanted = float(LANDAU[n - 1])
    assert matrix.sensitivity(1, 1) ** 2 == pytest.approx(wanted, rel=1e-14)
    errors = matrix.errors(np.tri(n))
    assert errors.max() ** 2 == pytest.approx(wanted, rel=1e-12)
    assert errors.max() * matrix.sensitivity(1, n) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("bands", "participations"), [(2, 5), (4, 8), (7, 3), (20, 4)])
def test_bands_within_the_separation_cost_the_root_of_the_participations(
    bands: int, participations: int
) -> None:
    """k participations, b bands at most s: squared sensitivity k G_{b-1} (nothing cut off)."""
    rounds = bands * participations
    matrix = banded_square_root(rounds, bands)
    wanted = participations * float(LANDAU[bands - 1])
    assert matrix.sensitivity(participations, bands) ** 2 == pytest.approx(wanted, rel=1e-14)


def test_the_asymptote_is_watsons() -> None:
    n = 2000
    loss = banded_square_root(n, n).sensitivity(1, 1) ** 2
    assert loss - math.log(n) / math.pi == pytest.approx(WATSON, abs=1e-4)


@pytest.mark.parametrize("n", [4, 32, 256])
def test_no_factorisation_beats_the_published_lower_bound(n: int) -> None:
    """Matousek, Nikolov, Talwar (IMRN 2020): loss >= (2 + log((2n + 1) / 3)) / pi."""
    least = (2 + math.log((2 * n + 1) / 3)) / math.pi
    for bands in {1, 2, n // 2, n}:
        matrix = banded_square_root(n, bands)
        assert matrix.errors(np.tri(n)).max() * matrix.sensitivity(1, 1) >= least


# Sums of random falls: every non-increasing, non-negative sequence with a positive start.
falls = st.lists(st.floats(0, 1), min_size=0, max_size=6)


@given(falls, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=150, deadline=None)
def test_sensitivity_is_the_largest_over_all_patterns(
    steps: list[float], rounds: int, participations: int, separation: int
) -> None:
    falling = np.cumsum([0.1, *steps])[::-1][:rounds]
    matrix = BandedToeplitz(tuple(map(float, falling)), rounds)
    columns = matrix.dense()
    largest = max(
        float(np.linalg.norm(columns[:, list(pattern)].sum(axis=1)))
        for size in range(1, participations + 1)
        for pattern in combinations(range(rounds), size)
        if all(b - a >= separation for a, b in pairwise(pattern))
    )
    found = matrix.sensitivity(participations, separation)
    assert found == pytest.approx(largest, rel=1e-12)


def test_equal_contributions_are_the_worst() -> None:
    """Signs, and directions in the plane, move C X no further than equal ones."""
    matrix = banded_square_root(6, 4, 0.5)
    columns = matrix.dense()[:, ::2]  # separation 2, so that bands overlap
    largest = matrix.sensitivity(3, 2)
    for signs in product([-1, 1], repeat=3):
        assert np.linalg.norm(columns @ np.array(signs)) <= largest * (1 + 1e-12)
    rng = np.random.default_rng(0)
    for angle in rng.uniform(0, 2 * np.pi, (200, 3)):
        directions = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        assert np.linalg.norm(columns @ directions) <= largest * (1 + 1e-12)


def test_a_column_that_the_end_cuts_off_moves_less() -> None:
    matrix = banded_square_root(5, 3)  # columns 0 and 3: the second has two of three numbers
    exact = LANDAU[2] + LANDAU[1]
    assert matrix.sensitivity(2, 3) ** 2 == pytest.approx(float(exact), rel=1e-14)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
def test_all_bands_are_a_square_root_of_the_workload(momentum: float) -> None:
    root = banded_square_root(12, 12, momentum).dense()
    workload = server_workload(np.ones(12), momentum)
    np.testing.assert_allclose(root @ root, workload, rtol=1e-12)


def test_the_workload_is_what_the_server_does() -> None:
    rates, beta = np.array([1.0, 0.5, 0.25, 0.1]), 0.7
    updates = np.random.default_rng(1).normal(size=4)
    theta, moment, iterates = 0.0, 0.0, []
    for rate, update in zip(rates, updates, strict=True):
        moment = beta * moment + update
        theta += rate * moment
        iterates.append(theta)
    np.testing.assert_allclose(server_workload(rates, beta) @ updates, iterates)


@pytest.mark.parametrize(("bands", "momentum"), [(1, 0.0), (3, 0.0), (5, 0.9), (9, 0.5)])
def test_inverse_and_errors_are_those_of_dense_algebra(bands: int, momentum: float) -> None:
    matrix = banded_square_root(9, bands, momentum)
    inverse = np.linalg.inv(matrix.dense())
    np.testing.assert_allclose(matrix.inverse(), inverse[:, 0], atol=1e-12)
    wanted = np.linalg.norm(np.tri(9) @ inverse, axis=1)
    np.testing.assert_allclose(matrix.errors(np.tri(9)), wanted, rtol=1e-12)


def test_bands_beat_independent_noise() -> None:
    """64 rounds, each unit in every 16th: the reason for all this."""
    loss = {
        bands: banded_square_root(64, bands).errors(np.tri(64)).max()
        * banded_square_root(64, bands).sensitivity(4, 16)
        for bands in (1, 4, 16)
    }
    assert loss[1] == pytest.approx(16)  # sqrt(64) sqrt(4)
    assert loss[16] < loss[4] < loss[1]
    assert loss[16] < 6


@pytest.mark.parametrize(
    ("rounds", "separation", "at_most", "wanted"),
    [(5, 1, None, 5), (5, 2, None, 3), (5, 5, None, 1), (5, 9, None, 1), (16, 4, 2, 2)],
)
def test_how_often_one_can_take_part(
    rounds: int, separation: int, at_most: int | None, wanted: int
) -> None:
    assert most_participations(rounds, separation, at_most) == wanted


@pytest.mark.parametrize(
    "coefficients", [(), (0.0,), (1.0, 1.1), (1.0, -0.1), (1.0, 0.5, 0.4, 0.3), (math.nan,)]
)
def test_coefficients_that_the_theorem_does_not_cover_are_refused(
    coefficients: tuple[float, ...],
) -> None:
    with pytest.raises(ConfigError, match="do not increase"):
        BandedToeplitz(coefficients, 3)


@pytest.mark.parametrize(
    ("bands", "momentum", "said"), [(0, 0, "bands"), (9, 0, "bands"), (2, 1.0, "momentum")]
)
def test_impossible_matrices_are_refused(bands: int, momentum: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        banded_square_root(8, bands, momentum)


def test_no_participation_is_no_guarantee() -> None:
    with pytest.raises(ConfigError, match="separation = 0"):
        banded_square_root(4, 2).sensitivity(1, 0)
    with pytest.raises(ConfigError, match="at_most = 0"):
        banded_square_root(4, 2).sensitivity(0, 2)
