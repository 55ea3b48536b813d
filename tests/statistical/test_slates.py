"""Logged propensities and click probabilities are the ones that slates and clicks came from.

Every test fails by chance less often than 1 in 1,000, and the seeds are fixed.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from shared.config import WorldConfig
from simulations.world.slates import examination
from simulations.world.world import World

pytestmark = pytest.mark.statistical

SETTINGS = WorldConfig(
    drift=0.5,
    scenarios=2,
    arrivals=0.3,
    slate=3,
    temperature=1.5,
    exploration=0.3,
    position_bias=0.7,
)
LIMIT = float(stats.norm.isf(0.5e-4))  # two-sided, 1 in 10,000


@pytest.fixture(scope="module")
def world():
    return World(users=120, items=60, seed=3, settings=SETTINGS)


@dataclass
class Shown:
    """One slate and what was true when it was shown."""

    items: np.ndarray
    propensities: np.ndarray
    click_probabilities: np.ndarray
    clicks: np.ndarray
    open_items: np.ndarray
    attractions: np.ndarray


@pytest.fixture(scope="module")
def log(world):
    """All slates; the state before each is put together from the clicks alone."""
    found = []
    for user in range(len(world)):
        slates = world.slates(user)
        context: list[int] = []
        for step, items in enumerate(slates.items):
            time, scenario = int(slates.times[step]), int(slates.scenarios[step])
            open_items = world.arrivals <= time
            open_items[context] = False
            wanted = world.attractions(user, np.array(context, dtype=np.int64), time, scenario)
            found.append(
                Shown(
                    items,
                    slates.propensities[step],
                    slates.click_probabilities[step],
                    slates.clicks[step],
                    open_items,
                    wanted,
                )
            )
            context += items[slates.clicks[step]].tolist()
    return found


def logging_policy(world):
    return world.policy(SETTINGS.temperature, SETTINGS.exploration)


def test_propensities_are_those_of_the_stated_policy(world, log):
    policy = logging_policy(world)
    for shown in log:
        assert shown.open_items[shown.items].all()
        assert len(set(shown.items.tolist())) == 3
        found = policy.propensities(shown.items, shown.open_items)
        np.testing.assert_allclose(shown.propensities, found, rtol=1e-12)


def test_items_are_shown_as_often_as_their_propensities_say(world, log):
    """Probability integral transform of every place; uniform, by Kolmogorov-Smirnov."""
    policy, rng = logging_policy(world), np.random.default_rng(0)
    values = [[], [], []]
    for shown in log:
        left = shown.open_items.copy()
        for place, item in enumerate(shown.items):
            chances = policy.chances(left)
            assert chances.sum() == pytest.approx(1)
            order = np.argsort(chances, kind="stable")
            below = chances[order][: int(np.flatnonzero(order == item)[0])].sum()
            values[place].append(below + rng.random() * chances[item])
            left[item] = False
    assert len(values[0]) > 1000
    for place in values:
        assert stats.kstest(place, "uniform").pvalue > 1e-3 / 3


def test_click_probabilities_are_examination_times_attraction(log):
    looked_at = examination(3, SETTINGS.position_bias)
    assert looked_at == pytest.approx([1, 2**-0.7, 3**-0.7])
    for shown in log:
        expected = looked_at * shown.attractions[shown.items]
        np.testing.assert_allclose(shown.click_probabilities, expected, rtol=1e-12)


def test_clicks_are_as_frequent_as_their_probabilities_say(log):
    chances = np.stack([shown.click_probabilities for shown in log])
    clicks = np.stack([shown.clicks for shown in log])
    groups = [(slice(None), place) for place in range(3)]
    groups += [(chances < 0.1), (chances >= 0.1) & (chances < 0.3), (chances >= 0.3)]
    for group in groups:
        p, c = chances[group], clicks[group]
        assert len(p) > 200
        assert abs((c - p).sum() / np.sqrt((p * (1 - p)).sum())) < LIMIT


def known_values(policy, shown):
    """The true click rate of a policy at the first and second place of a slate."""
    looked_at = examination(3, SETTINGS.position_bias)
    first = policy.chances(shown.open_items)
    second = np.zeros_like(first)
    for item in np.flatnonzero(first):
        left = shown.open_items.copy()
        left[item] = False
        second += first[item] * policy.chances(left)
    return looked_at[0] * first @ shown.attractions, looked_at[1] * second @ shown.attractions


def test_importance_weights_give_the_click_rate_of_another_policy(world, log):
    """IPS is unbiased for a policy that was never run; the plain click rate is not its value.

    Given everything before a slate, weighted clicks minus the known value have mean zero.
    """
    target = world.policy(temperature=0.7, exploration=0.05)
    weighted, plain = [], []
    for shown in log:
        above = target.propensities(shown.items, shown.open_items) / shown.propensities
        weights = np.cumprod(above)[:2]
        known = np.array(known_values(target, shown))
        weighted.append(weights * shown.clicks[:2] - known)
        plain.append(shown.clicks[:2] - known)
    right, wrong = (np.array(x) for x in (weighted, plain))
    error = right.std(0, ddof=1) / np.sqrt(len(right))
    assert (np.abs(right.mean(0)) < LIMIT * error).all()
    assert (error < 0.03).all()  # it says something
    plain_error = wrong.std(0, ddof=1) / np.sqrt(len(wrong))
    assert (np.abs(wrong.mean(0)) > 3 * plain_error).all()
