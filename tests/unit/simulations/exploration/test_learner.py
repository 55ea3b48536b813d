"""What is learned of items from sums, and of people from their own slates, against slow oracles."""

import numpy as np
import pytest

from client.serving.exploration import NAMES, chances_of, draw
from shared.errors import EngineError
from simulations.exploration.learner import Learner, Prior

PEOPLE, ITEMS, WIDTH, PLACES = 6, 12, 4, 3
SEEN = np.broadcast_to([1.0, 0.7, 0.5], (PEOPLE, PLACES))


def begun(memory=1.0):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(ITEMS, 8)) / 2
    met = rng.random((PEOPLE, ITEMS)) < 0.2
    return Learner(vectors, met, Prior(memory=memory), WIDTH, 3)


def a_day(learner, seed, name="greedy"):
    rng = np.random.default_rng(seed)
    beliefs = learner.beliefs(name, 1.0, rng)
    slates, _ = draw(chances_of(name, beliefs), np.ones((PEOPLE, ITEMS), bool), PLACES, rng)
    clicks = rng.random(slates.shape) < 0.4
    shown = learner.learn(slates, clicks, SEEN)
    own = np.zeros((PEOPLE, 2, ITEMS))
    for user, slate in enumerate(slates):
        own[user][:, slate] = shown[user]
    np.testing.assert_allclose(learner.added(slates, shown), own.sum(0).ravel(), atol=1e-6)
    return slates, clicks, own


def test_contributions_are_what_was_shown_and_what_was_not_expected():
    learner = begun()
    slates, clicks, own = a_day(learner, 1)
    found, fits = learner._today
    for user in range(PEOPLE):
        for item in range(ITEMS):
            places = np.flatnonzero(slates[user] == item)
            count = sum(SEEN[user, p] ** 2 for p in places)
            x = np.concatenate([[fits[user, item]], learner._vectors[item]])
            total = sum(
                SEEN[user, p] * (clicks[user, p] - SEEN[user, p] * x @ found.mean[user])
                for p in places
            )
            np.testing.assert_allclose(own[user, :, item], [count, total], atol=1e-5)


def test_without_noise_an_items_posterior_is_the_textbooks():
    learner = begun()
    _, _, own = a_day(learner, 2)
    learner.hear(own.sum(0), np.zeros(2))
    prior, (count, total) = learner.prior, own.sum(0, dtype=np.float64)
    precision = prior.sd**-2 + count / prior.noise**2
    mean, variance = learner.items()
    np.testing.assert_allclose(variance, 1 / precision)
    by_hand = (prior.mean * prior.sd**-2 + total / prior.noise**2) / precision
    np.testing.assert_allclose(mean, by_hand)


def test_noise_in_the_sums_makes_items_less_certain_and_never_more():
    quiet, loud = begun(), begun()
    _, _, own = a_day(quiet, 3)
    quiet.hear(own.sum(0), np.zeros(2))
    loud.hear(own.sum(0), np.array([4.0, 9.0]))
    assert (loud.items()[1] >= quiet.items()[1]).all()
    assert (loud.items()[1] <= quiet.prior.sd**2).all()
    prior, count = loud.prior, own[:, 0].sum(0)
    known = count**2 / (count * prior.noise**2 + 9.0 + prior.mean**2 * 4.0).clip(1e-12)
    np.testing.assert_allclose(loud.items()[1], 1 / (prior.sd**-2 + known), rtol=1e-5)
    loud.hear(-5 * own.sum(0), np.zeros(2))  # counts below zero say nothing
    np.testing.assert_allclose(loud.items()[0], quiet.prior.mean)


def test_what_is_older_counts_less():
    learner = begun(memory=0.5)
    learner.hear(np.ones((2, ITEMS)), np.ones(2))
    learner.hear(np.zeros((2, ITEMS)), np.zeros(2))
    np.testing.assert_allclose(learner._sums, 0.5)
    np.testing.assert_allclose(learner._variances, 0.25)


@pytest.mark.parametrize("name", NAMES)
def test_beliefs_are_those_of_a_layer_of_each_person(name):
    """The batched products, against one layer after the other."""
    learner = begun()
    for seed in range(4):
        _, _, own = a_day(learner, seed)
        learner.hear(own.sum(0), np.zeros(2))
    beliefs = learner.beliefs(name, 1.0, np.random.default_rng(7))
    mean, variance = learner.items()
    found, fits = learner._today
    for user in range(PEOPLE):
        x = np.column_stack([fits[user], learner._vectors])
        own = learner._layer.posterior(learner._gram[user], learner._moment[user])
        np.testing.assert_allclose(beliefs.mean[user], mean + own.expected(x), atol=1e-5)
        if name == "linucb":
            spread = np.sqrt(variance + own.spread(x) ** 2)
            share = beliefs.spread[user] / spread  # a device's own, of each item
            assert ((share >= 0) & (share <= 1 + 1e-5)).all()
            assert len(set(share.tolist())) == ITEMS
        if name == "thompson":
            assert beliefs.draws[user].shape == (3, ITEMS)
            far = abs(beliefs.draws[user] - beliefs.mean[user])
            assert (far < 6 * np.sqrt(variance + own.spread(x) ** 2)).all()
    assert found.mean.shape == (PEOPLE, WIDTH + 1)


def test_a_day_begins_with_beliefs():
    with pytest.raises(EngineError, match="beliefs come before"):
        begun().learn(np.zeros((PEOPLE, 1), np.int64), np.zeros((PEOPLE, 1), bool), SEEN[:, :1])
