"""Evidence on canaries adds up as likelihoods do, whether they overlap or not."""

import numpy as np

from simulations.audit.threats.tally import Tally


def test_directions_apart_are_coordinates():
    random = np.random.default_rng(0)
    vectors, rows = random.normal(size=(3, 9)), 0.7 * np.eye(9)[[4, 1, 7, 2]]
    alone, along = Tally(4), Tally(4)
    for vector in vectors:
        alone.alone(vector[[4, 1, 7, 2]], 0.7, 1.3, 1.0)
        along.along(rows, vector, 1.3)
    assert np.allclose(alone.scores(), along.scores())


def test_the_log_odds_are_those_of_a_coin_and_a_gaussian():
    from scipy.stats import norm

    tally, values, share = Tally(2), np.array([0.9, -0.4]), 0.3
    tally.alone(values, 1.5, 0.8, share)
    there = share * norm.pdf(values, 1.5, 0.8) + (1 - share) * norm.pdf(values, 0, 0.8)
    assert np.allclose(tally.scores(), np.log(there / norm.pdf(values, 0, 0.8)))


def test_overlapping_canaries_are_told_apart():
    random = np.random.default_rng(1)
    rows, bits = random.normal(size=(20, 60)) + 1.0, random.random(20) < 0.5
    tally = Tally(20)
    tally.along(rows, bits @ rows + 0.1 * random.normal(size=60), 0.1)
    assert np.array_equal(tally.scores() > 0, bits)
