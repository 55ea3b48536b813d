"""Bounds at 95 % are above the truth in at most one of twenty, and not far below it.

Of 300 tries 36 or more are above it with probability 1e-6, if as many were as may be.
"""

import numpy as np
import pytest
from scipy.special import expit

from simulations.audit.evidence import best, gaussian_one_run, one_run
from tests.support.auditing.audited import shift_of

TRIES, MOST, CANARIES, DELTA = 300, 35, 200, 1e-5


def bounds(bound, draw):
    found = []
    for seed in range(TRIES):
        random = np.random.default_rng(seed)
        bits = random.random(CANARIES) < 0.5
        found.append(best(draw(random, bits), bits, DELTA, 0.95, bound))
    return np.array(found)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_of_randomised_response(epsilon):
    def draw(random, bits):
        return np.where(random.random(CANARIES) < expit(epsilon), bits, ~bits).astype(float)

    found = bounds(one_run, draw)
    assert (found > epsilon).sum() <= MOST
    assert epsilon < 1 or np.median(found) > epsilon / 3


@pytest.mark.parametrize("bound", [one_run, gaussian_one_run])
@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_of_a_gaussian(bound, epsilon):
    def draw(random, bits):
        return shift_of(epsilon, DELTA) * bits + random.normal(size=CANARIES)

    found = bounds(bound, draw)
    assert (found > epsilon).sum() <= MOST
    assert bound is one_run or epsilon < 8 or np.median(found) > epsilon / 3
