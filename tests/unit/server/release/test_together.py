"""Two items' weights: what is met together, and not what a third explains, in exact pairs too."""

import numpy as np
import pytest

from server.release.moments import Moments, decode
from server.release.together import _ease, item_tables
from shared.privacy.contribution.moments import exact_basis, user_moments

ITEMS = 12


def regressed(gram, ridge):
    """Every item on all others, one least-squares problem after the other: the slow oracle."""
    found = np.zeros_like(gram)
    for item in range(len(gram)):
        others = np.arange(len(gram)) != item
        inside = gram[np.ix_(others, others)] + ridge * np.eye(len(gram) - 1)
        found[others, item] = np.linalg.solve(inside, gram[others, item])
    return found


def parts(seed=0, scale=None):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((40, ITEMS)) * 0.02
    rest = rows.T @ rows
    np.fill_diagonal(rest, 0)
    scale = rng.gamma(2.0, 1.0, ITEMS) if scale is None else scale
    return rest, scale / scale.mean()


def test_it_is_the_ridge_regression_of_each_item_on_all_others():
    (rest, scale), chance = parts(), 0.5
    own = chance * scale * scale.sum() / 15
    gram = rest + chance * np.outer(scale, scale)
    np.fill_diagonal(gram, own)
    ridge = 60 * own.mean()
    wanted = regressed(gram, ridge)
    wanted = (wanted - scale @ wanted / scale.sum()) * ridge / chance
    np.testing.assert_allclose(_ease(rest, scale, chance), wanted, rtol=1e-9, atol=1e-12)


def test_what_a_third_item_explains_is_taken_out():
    """0 and 1 are met together because both are met with 2: lift sees that, the regression less."""
    rest, scale = np.zeros((ITEMS, ITEMS)), np.ones(ITEMS)
    for one, other, much in ((0, 2, 30.0), (1, 2, 30.0), (0, 1, 30.0**2 / 49.0)):
        rest[one, other] = rest[other, one] = much
    found = _ease(rest, scale, 1.0)
    assert abs(found[0, 1]) < 0.5 * rest[0, 1]
    assert found[0, 2] > 0.5 * rest[0, 2]


def test_a_sum_with_more_noise_than_ridge_is_read_all_the_same():
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((ITEMS, ITEMS)) * 1e3
    given, taken = item_tables(noise + noise.T, np.ones(ITEMS), 0.01, 4)
    assert np.isfinite(given).all()
    assert np.isfinite(taken).all()


def test_tables_hold_the_leading_part_however_it_is_computed(monkeypatch):
    (rest, scale), chance = parts(3), 0.5
    whole = item_tables(rest.copy(), scale, chance, 3)
    monkeypatch.setattr("server.release.together._FULL", 0)
    part = item_tables(rest.copy(), scale, chance, 3)
    for one, other in ((0, 1), (0, 0), (1, 1)):
        np.testing.assert_allclose(
            part[one] @ part[other].T, whole[one] @ whole[other].T, rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("people", [300, 3000])
def test_exact_pairs_find_who_goes_with_whom(people):
    rng = np.random.default_rng(1)
    halves = np.arange(0, ITEMS, 2), np.arange(1, ITEMS, 2)
    histories = [rng.permutation(halves[u % 2])[:5] for u in range(people)]
    counts = np.bincount(np.concatenate(histories), minlength=ITEMS) / 5**0.5
    basis = exact_basis(counts)
    total = sum(user_moments(history, basis).astype(np.float64) for history in histories)
    given, taken = decode(Moments(basis, total, 0.0), ITEMS)
    alike = given @ taken.T
    same = basis.items[:, None] % 2 == basis.items % 2
    off = ~np.eye(ITEMS, dtype=bool)
    assert alike[same & off].min() > alike[~same].max()
