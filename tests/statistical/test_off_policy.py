"""Intervals hold the value of a policy that never ran, as often as they say.

Seeds are fixed; every test would fail by chance less often than 1 in 1,000.
"""

from dataclasses import replace

import numpy as np
import pytest

from simulations.offpolicy import LoggedFeedback, value_of
from simulations.offpolicy.policies import Uniform

pytestmark = pytest.mark.statistical

CHANCES = np.array([0.6, 0.3, 0.1])  # of a policy that logs
CLICKS = np.array([[0.2, 0.5, 0.7], [0.1, 0.3, 0.4]])  # of people of two kinds, by item
WORTH = float(CLICKS.mean())  # of showing anything alike
LOGS, ROWS = 60, 400


def drawn(seed):
    """A log of people of two kinds, of whom nobody knows which they are."""
    rng = np.random.default_rng(seed)
    items = rng.choice(3, size=ROWS, p=CHANCES)
    kinds = rng.integers(2, size=ROWS)
    return LoggedFeedback(
        name="drawn",
        item_ids=("a", "b", "c"),
        items=items,
        places=np.zeros(ROWS, dtype=np.int64),
        place_names=(0,),
        rewards=(rng.random(ROWS) < CLICKS[kinds, items]).astype(float),
        propensities=CHANCES[items],
        people=np.arange(ROWS),
        slates=np.arange(ROWS),
        times=np.arange(ROWS),
        arrivals=np.zeros(3, dtype=np.int64),
        clicked_is_gone=False,
    )


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulations.offpolicy.value.DRAWS", 200)
        return [value_of(Uniform(), drawn(seed)) for seed in range(LOGS)]


@pytest.mark.parametrize("name", ["dm", "ips", "snips", "dr", "switch_dr"])
def test_intervals_cover(found, name):
    """Of 60 at 95%, 50 or fewer once in 2,000 times."""
    intervals = [each.estimates[name] for each in found]
    assert sum(one.low <= WORTH <= one.high for one in intervals) > 50
    assert not all(one.low <= WORTH + 0.15 <= one.high for one in intervals)  # not by their width


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_no_estimate_is_off_on_average(found, name):
    values = np.array([each.estimates[name].value for each in found])
    assert abs(values.mean() - WORTH) < 3.5 * values.std() / LOGS**0.5
    plain = np.mean([each.logged.value for each in found])
    assert abs(plain - WORTH) > 10 * values.std() / LOGS**0.5  # what correcting is for


def test_wrong_propensities_are_told():
    log = drawn(0)
    wrong = value_of(Uniform(), replace(log, propensities=np.full(ROWS, 0.5)))
    assert any("not 1" in line for line in wrong.warnings)
    assert value_of(Uniform(), log).warnings == []
