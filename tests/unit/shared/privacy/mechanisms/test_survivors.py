"""However many collude, take part and go away: every opened sum has the noise that is accounted."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.config import from_dict
from shared.errors import ConfigError
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.distributed import Counted, SkellamMechanism
from shared.privacy.plan.shared_noise import update_sum

USERS = st.integers(1, 20_000)
COHORT = st.floats(0.001, 1.0) | st.just(1.0)
SURVIVORS = st.none() | st.floats(0.001, 1.0)
COLLUDING = st.floats(0, 0.499) | st.sampled_from([0.0, 0.1, 0.3, 1 / 3])


def counted_on(users, cohort, share, colluding):
    try:
        return Counted.on(share, colluding, cohort * users, users)
    except ConfigError:
        return None


@given(USERS, COHORT, SURVIVORS, COLLUDING)
def test_what_is_opened_holds_the_honest_noise_that_is_accounted(users, cohort, share, colluding):
    found = counted_on(users, cohort, share, colluding)
    assume(found is not None)
    assert found.survivors + math.floor(colluding * found.devices) <= found.fewest <= found.devices
    assert found.devices <= users
    if share is not None:
        assert found.survivors >= share * cohort * users * (1 - 1e-9)


@given(USERS, COHORT, SURVIVORS, COLLUDING, st.data())
def test_less_the_noise_of_those_who_collude(users, cohort, share, colluding, data):
    found = counted_on(users, cohort, share, colluding)
    assume(found is not None)
    z = data.draw(st.floats(0.1, 50))
    mechanism = SkellamMechanism(z, L2Clip(1.0), data.draw(st.integers(12, 32)), found)
    dim = data.draw(st.integers(1, 10**6) | st.integers(1, 100))
    try:
        grid = mechanism.grid(dim)
    except ConfigError:
        assume(False)
    # Any cohort, any number of its messages that may be opened, and all who collude among them.
    cohort = data.draw(st.integers(found.fewest, found.devices))
    messages = data.draw(st.integers(found.fewest, cohort))
    honest = messages - math.floor(colluding * cohort)
    for squared in (grid.rounding.l2_squared, mechanism.least_l2_squared):
        assert honest * grid.share >= z**2 * squared * (1 - 1e-12)


@pytest.mark.parametrize("colluding", [0.0, 0.1, 0.4])
def test_the_more_collude_the_larger_is_every_share(colluding):
    privacy = {"trust": "distributed", "epsilon": 8.0, "colluding": colluding}
    config = from_dict({"federation": {"cohort": 1.0}, "privacy": privacy})
    grid = update_sum(config, 100).with_noise(1.0).grid(1000)
    assert grid.share == math.ceil(grid.rounding.l2_squared / round(100 * (1 - colluding)))
