"""Two tables from a noised sum: what is there is found, and what is noise is not believed."""

import numpy as np
import pytest

from server.release.moments import Moments, _shrunk, decode, tables
from shared.privacy.contribution.moments import MOMENTS_CLIP, moments_basis, user_moments
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource

ITEMS, PEOPLE = 40, 600


@pytest.fixture(scope="module")
def exact():
    """People of two tastes, half of the catalogue each."""
    rng = np.random.default_rng(1)
    halves = [np.arange(0, ITEMS, 2), np.arange(1, ITEMS, 2)]
    histories = [rng.permutation(halves[u % 2])[:10] for u in range(PEOPLE)]
    counts = np.bincount(np.concatenate(histories), minlength=ITEMS) / 3.0
    basis = moments_basis(counts, 0.0, {})
    total = sum(user_moments(history, basis).astype(np.float64) for history in histories)
    return Moments(basis, total, 0.0)


def apart(found):
    """By how much two items of one taste are more alike than two of both, in the spread of all."""
    given, taken = tables(found, ITEMS, 3)
    alike = given @ taken.T
    same = np.arange(ITEMS)[:, None] % 2 == np.arange(ITEMS) % 2
    off = ~np.eye(ITEMS, dtype=bool)
    return (alike[same & off].mean() - alike[~same].mean()) / (alike[off].std() or 1.0)


def noised(found, noise):
    release = GaussianMechanism(noise, MOMENTS_CLIP).release
    total = release(found.total, NoiseSource.seeded(3, "s", "moments", 0))
    return Moments(found.basis, total, noise)


def test_tastes_are_found_exactly_and_through_noise(exact):
    assert apart(exact) > 1.5
    assert apart(noised(exact, 2.0)) > 1.5


def test_nothing_is_read_where_there_is_nothing(exact):
    nobody = Moments(exact.basis, np.zeros(exact.basis.dim), 0.0)
    given, _ = decode(nobody, 3)
    assert not given.any()
    assert abs(apart(noised(nobody, 2.0))) < 0.5


@pytest.mark.parametrize("tau", [0.0, 0.1, 10.0])
def test_a_coordinate_keeps_the_share_that_is_no_noise(tau):
    """As if its prior's scale were known: that is found by likelihood. Seeded: nothing varies."""
    rng, noise = np.random.default_rng(4), 2.0
    prior = np.exp(rng.uniform(-4, 4, 20_000))
    rest = rng.standard_normal(len(prior)) * np.sqrt(tau * prior + noise**2)
    wanted = rest * tau * prior / (tau * prior + noise**2)
    assert np.linalg.norm(_shrunk(rest, prior, noise) - wanted) < 0.05 * np.linalg.norm(rest)


def test_what_popularity_alone_gives_is_taken_out(exact):
    basis, total = exact.basis, exact.total
    popular = basis.vectors.T.astype(np.float64) @ basis.scale.astype(np.float64) ** 0.75
    chance = popular[basis.first] * popular[basis.second] * basis.weight
    chance *= (total @ chance) / (chance @ chance)
    given, taken = decode(Moments(basis, chance, 0.0), ITEMS)  # nothing is cut
    whole = decode(exact, ITEMS)
    assert np.linalg.norm(given @ taken.T) < 0.1 * np.linalg.norm(whole[0] @ whole[1].T)


def test_what_people_avoid_together_has_its_sign(exact):
    given, taken = decode(exact, ITEMS)
    values = np.linalg.eigvalsh(given @ taken.T + taken @ given.T)
    assert values.min() < -0.05 * values.max() < 0
    # Nobody's own item is beside itself: with the signs, little is on the diagonal.
    assert np.trace(given @ taken.T) < 0.2 * np.trace(given @ given.T)


def test_the_tables_are_in_units_of_chance(exact):
    """However many people a sum is of, the tables weigh the same beside the rest of a score."""
    given, taken = decode(exact, 5)
    moved = decode(Moments(exact.basis, 100 * exact.total, 0.0), 5)
    np.testing.assert_allclose(moved[0] @ moved[1].T, given @ taken.T, atol=1e-9)
    given, taken = decode(noised(exact, 1.0), 5)
    assert given.any()
    wide, _ = decode(exact, ITEMS + 5)  # of more columns than there are directions
    assert wide.shape == (ITEMS, ITEMS + 5)
    assert not wide[:, ITEMS:].any()
