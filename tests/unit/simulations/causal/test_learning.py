"""Learning from chosen ratings: each piece against a plain form of it, and a known world."""

import doctest

import numpy as np
import pytest

from shared.errors import ConfigError
from simulations.causal import PROPENSITIES, Ratings, compared, learning
from simulations.causal.factors import Shape, fitted
from simulations.causal.learning import bounded_weights, ndcg, pseudo_outcomes
from simulations.causal.propensities import estimated


def world(seed=0, people=60, items=50):
    """Whoever likes something rates it more often; a random rating is what it is."""
    rng = np.random.default_rng(seed)
    traits = rng.normal(size=(people, 2))
    liked = traits @ rng.normal(size=(2, items)) + rng.normal(size=items)
    truth = np.clip(np.round(2.5 + liked + 0.5 * rng.normal(size=liked.shape)), 1, 5)
    chance = np.array([0, 0.03, 0.06, 0.12, 0.25, 0.5])[truth.astype(int)]
    chosen = np.where(rng.random(truth.shape) < chance, truth, 0)
    random = np.where(rng.random(truth.shape) < 0.3, truth, 0)
    return Ratings("made", chosen, random, traits, given=chance)


def test_the_example_of_the_docstring():
    assert doctest.testmod(learning, extraglobs={"np": np}) == (0, 1)  # failed, tried


def test_a_ridge_regression_for_each_item():
    """No factors and no number of people: every item's coefficients in closed form."""
    rng = np.random.default_rng(1)
    y, weights, x = rng.normal(size=(30, 4)), rng.random((30, 4)), rng.normal(size=(30, 2))
    found = fitted(y, weights, x, Shape(0, 1e9, 2.0), seed=0)  # the ridge keeps the numbers at 0
    mean = (weights * y).sum() / weights.sum()
    for item in range(4):
        root = np.sqrt(weights[:, item])
        rows = np.vstack([x * root[:, None], np.sqrt(2.0) * np.eye(2)])
        wanted = np.concatenate([(y[:, item] - mean) * root, np.zeros(2)])
        own = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        assert found[:, item] == pytest.approx(mean + x @ own, abs=1e-5)


def test_factors_recover_what_has_their_form():
    rng = np.random.default_rng(2)
    truth = 3 + rng.normal(size=(40, 1)) @ rng.normal(size=(1, 30)) + rng.normal(size=30)
    seen = (rng.random(truth.shape) < 0.5).astype(float)
    found = fitted(truth, seen, np.empty((40, 0)), Shape(2, 0.01, 1.0), seed=0)
    hidden = seen == 0
    assert np.abs(found - truth)[hidden].mean() < 0.1 * truth[hidden].std()


def test_pseudo_outcomes_are_the_doubly_robust_loss():
    """Its differences between any two predictions are those of a plain regression on them."""
    rng = np.random.default_rng(3)
    fit = np.where(rng.random((6, 5)) < 0.4, rng.integers(1, 6, (6, 5)), 0).astype(float)
    seen, first = fit > 0, rng.normal(3, 1, (6, 5))
    weights = np.where(seen, rng.gamma(2, 1, (6, 5)), 0)
    scale = seen.size / seen.sum()

    def loss(made):
        imputed, real = (first - made) ** 2, (fit - made) ** 2
        return (imputed + weights * scale * seen * (real - imputed)).sum()

    y = pseudo_outcomes(first, fit, weights)
    one, other = rng.normal(3, 1, (2, 6, 5))
    plain = ((y - one) ** 2).sum() - ((y - other) ** 2).sum()
    assert loss(one) - loss(other) == pytest.approx(plain)
    assert (y[~seen] == first[~seen]).all()


def test_naive_bayes_by_hand():
    ratings = world()
    fit = np.array([[1.0, 1, 2, 0], [2, 0, 0, 0]])
    sample = np.array([[1.0, 1, 1, 0], [2, 0, 0, 0]])
    found = estimated("naive_bayes", ratings, fit, sample)
    among_random = {1: (3 + 1) / (4 + 2), 2: (1 + 1) / (4 + 2)}
    for value, count in ((1, 2), (2, 2)):
        expected = count / 4 * (4 / 8) / among_random[value]
        assert found[fit == value] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["popularity", "logistic"])
def test_exposure_is_as_frequent_as_it_was(kind):
    ratings = world()
    found = estimated(kind, ratings, ratings.chosen, ratings.random)
    assert found.min() >= 1e-3
    assert found.max() <= 1
    assert found.mean() == pytest.approx((ratings.chosen > 0).mean(), rel=0.05)
    often = (ratings.chosen > 0).mean(axis=0)
    assert np.corrcoef(found.mean(axis=0), often)[0, 1] > 0.9


def test_weights_are_scaled_and_then_bounded():
    seen = np.array([[True, True, False, True]])
    found = bounded_weights(np.array([[0.5, 0.1, 0.9, 0.5]]), seen, 1.5)
    assert found == pytest.approx(np.array([[2 / (14 / 3), 1.5, 0, 2 / (14 / 3)]]))


def test_ndcg_by_hand():
    ratings, scores = np.array([1.0, 3, 2, 1, 1, 5]), np.array([9.0, 8, 7, 6, 5, 4])
    gains = [1, 7, 3, 1, 1]
    best = [31, 7, 3, 1, 1]
    discounts = 1 / np.log2(np.arange(2, 7))
    assert ndcg(scores, ratings) == pytest.approx((gains @ discounts) / (best @ discounts))
    assert np.isnan(ndcg(scores[:0], ratings[:0]))


@pytest.mark.parametrize("kind", ["given", "naive_bayes"])
def test_correcting_helps_where_ratings_are_chosen_by_what_they_are(kind):
    found = compared(world(), kind, 10.0, [0, 1])
    for name in ("ips", "doubly_robust"):
        gain, low, _ = found[name].mse_gain
        assert low > 0
        assert gain == pytest.approx(found["naive"].mse - found[name].mse, rel=1e-6)
    assert found["naive"].mse_gain == (0, 0, 0)
    assert compared(world(), kind, 10.0, [0, 1]) == found


def test_nothing_is_gained_where_nothing_was_chosen():
    """Ratings at random: the truth of it is that all weights are one."""
    ratings = world()
    truth = np.where(ratings.random > 0, ratings.random, 0)
    half = np.random.default_rng(0).random(truth.shape) < 0.5
    flat = Ratings("flat", truth * half, truth * ~half, ratings.people, np.full(truth.shape, 0.15))
    found = compared(flat, "given", 10.0, [0])
    assert found["ips"].mse == found["naive"].mse
    assert abs(found["doubly_robust"].mse_gain[0]) < 0.1 * found["naive"].mse


@pytest.mark.parametrize(
    ("bound", "seeds", "kind", "told"),
    [
        (0.5, [0], "given", "bound = 0.5: expected from 1 up"),
        (10.0, [], "given", "expected one or more"),
        (10.0, [-1], "given", "from 0 up"),
        (10.0, [0], "other", "expected one of naive_bayes"),
    ],
)
def test_values_out_of_range_are_refused(bound, seeds, kind, told):
    with pytest.raises(ConfigError, match=told):
        compared(world(), kind, bound, seeds)


def test_given_needs_to_be_given():
    ratings = world()
    bare = Ratings("bare", ratings.chosen, ratings.random, ratings.people)
    with pytest.raises(ConfigError, match="bare has none"):
        compared(bare, "given", 10.0, [0])
    assert set(PROPENSITIES) == {"naive_bayes", "popularity", "logistic", "given"}
