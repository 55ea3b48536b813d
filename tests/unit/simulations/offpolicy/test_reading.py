"""Logs of what was shown, from our columns and from those of the Open Bandit Dataset."""

import numpy as np
import pytest

from shared.config import WorldConfig
from shared.errors import ConfigError, DataError
from simulations.offpolicy import named_policy, read_feedback
from simulations.world.files import write_world
from simulations.world.world import World

LOG = """user,slate,position,item,propensity,click
u,1,1,a,0.5,0
u,1,0,b,0.25,1
v,1,0,a,1,0
"""


@pytest.fixture
def log(tmp_path):
    def write(text=LOG, name="log.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_rows_are_sorted_into_slates(log):
    found = read_feedback(log())
    assert found.item_ids == ("a", "b")
    assert found.items.tolist() == [1, 0, 0]
    assert found.places.tolist() == [0, 1, 0]
    assert found.slates.tolist() == [0, 0, 1]
    assert found.people.tolist() == [0, 0, 1]
    assert found.propensities.tolist() == [0.25, 0.5, 1]
    assert found.rewards.tolist() == [1, 0, 0]
    assert found.clicked_is_gone


def test_who_is_shown_it_again_may_be(log):
    again = LOG + "u,2,0,b,0.5,0\n"
    assert not read_feedback(log(again)).clicked_is_gone


def test_open_bandit_is_read_as_published(log):
    text = (
        ",timestamp,item_id,position,click,propensity_score,user_feature_0\n"
        "0,2019-11-24 00:03:13.442536+00:00,14,3,0,0.03,ab\n"
        "1,2019-11-24 00:03:36.705207+00:00,2,1,1,0.04,ab\n"
    )
    found = read_feedback(log(text))
    assert found.item_ids == ("2", "14")
    assert found.place_names == (1, 3)
    assert found.items.tolist() == [1, 0]
    assert found.people.tolist() == [0, 1]
    assert not found.clicked_is_gone


def test_a_world_is_read_as_it_was_written(tmp_path):
    settings = WorldConfig(slate=3, arrivals=0.3)
    world = World(users=6, items=60, seed=1, settings=settings)
    found = read_feedback(write_world(world, tmp_path))
    shown = [world.slates(user) for user in range(len(world))]
    for name, field in (
        ("items", "items"),
        ("propensities", "propensities"),
        ("clicks", "rewards"),
    ):
        expected = np.concatenate([getattr(each, name).ravel() for each in shown])
        assert np.array_equal(getattr(found, field), expected)
    assert found.arrivals.tolist() == world.arrivals.tolist()
    assert found.clicked_is_gone
    policy = world.policy(settings.temperature, settings.exploration)
    for rows, there in found.choices:  # what was open is what the policy drew from
        first = rows.start
        assert policy.chances(there[0])[found.items[first]] == found.propensities[first]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LOG.replace("0.25", "0"), "row 3: propensity = 0: expected 1e-12 to 1"),
        (LOG.replace("0.25", "nan"), "row 3: propensity = nan"),
        (LOG.replace("0.25", "1e-200"), "row 3: propensity = 1e-200: expected 1e-12 to 1"),
        (LOG.replace("1,1,a", "1,1,b"), "row 2: item 'b': twice in one slate"),
        (LOG.replace("0.5,0", "0.5,2"), "row 2: click = 2: expected 0, 1"),
        (LOG.replace("1,1,a", "1,0,a"), "position = 0: twice in one slate"),
        (LOG.replace("1,1,a", "1,1.5,a"), "row 2: position = 1.5: expected a whole number"),
        (LOG.replace("propensity", "chance"), "no column 'propensity' (nor propensity_score"),
        ("item,propensity,click\na,1,0\na,1,1\n", "shows one item only"),
    ],
)
def test_mistakes_are_told_with_their_row(log, text, told):
    with pytest.raises(DataError) as raised:
        read_feedback(log(text))
    assert told in str(raised.value)


def test_an_item_is_not_shown_before_it_arrives(log):
    log("item,text,arrival\na,A,5\nb,B,0\n", "items.csv")
    text = "item,propensity,click,timestamp\nb,1,0,1\na,1,0,4\n"
    with pytest.raises(DataError, match="row 3: item 'a' is shown before it arrives"):
        read_feedback(log(text))


def test_policies_that_do_not_fit_are_refused(log):
    found = read_feedback(log())
    other = log(LOG.replace(",a,", ",z,"), "other.csv")
    with pytest.raises(DataError, match=r"shows item 'z', which .* never does"):
        named_policy(str(other), found)
    elsewhere = log(LOG.replace("1,1,a", "1,2,a"), "elsewhere.csv")
    with pytest.raises(DataError, match="place 1, 2 is in one of them only"):
        named_policy(str(elsewhere), found)
    with pytest.raises(DataError, match="neither uniform nor popularity"):
        named_policy("best", found)
    with pytest.raises(ConfigError, match="temperature = 0: expected more than 0"):
        named_policy("uniform", found, 0)
