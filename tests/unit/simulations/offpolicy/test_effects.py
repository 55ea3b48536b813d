"""What showing an item does: by hand, and in worlds in which it is known."""

import dataclasses
import json

import numpy as np
import pytest

from shared.config import WorldConfig
from shared.errors import DataError
from simulations.offpolicy import LoggedFeedback, item_effects, read_feedback
from simulations.world.files import write_world
from simulations.world.slates import examination
from simulations.world.world import World
from tests.support.command import command

ETA = 1.0


def made(items, places, propensities, rewards, count=2):
    n = len(items)
    return LoggedFeedback(
        name="made",
        item_ids=tuple(f"i{item}" for item in range(count)),
        items=np.array(items),
        places=np.array(places),
        place_names=tuple(range(max(places) + 1)),
        rewards=np.array(rewards, dtype=float),
        propensities=np.array(propensities, dtype=float),
        people=np.arange(n),
        slates=np.arange(n),
        times=np.arange(n),
        arrivals=np.zeros(count, dtype=np.int64),
        clicked_is_gone=False,
    )


def test_one_place_by_hand():
    """Rows of item 0 stand for 2 and 4; shrunk by one click's worth of all rows."""
    log = made([0, 0, 1, 1], [0] * 4, [0.5, 0.25, 0.5, 0.5], [1, 0, 1, 0])
    found = item_effects(log)
    weights = [2, 4, 2, 2]
    of_all = (2 + 2) / sum(weights)
    worth = sum(weights) / 4 / of_all
    expected = [(2 + worth * of_all) / (6 + worth), (2 + worth * of_all) / (4 + worth)]
    assert found.effects == pytest.approx(expected, abs=1e-12)
    assert found.rates.tolist() == [0.5, 0.5]
    assert found.shown.tolist() == [2, 2]
    assert found.looked_at.tolist() == [1.0]


def test_places_that_are_looked_at_half_as_often():
    """Each item at each place; clicks twice as frequent at the first: no item is the better."""
    rng = np.random.default_rng(0)
    n = 20_000
    places = rng.integers(2, size=n)
    items = (rng.random(n) < np.where(places == 0, 0.8, 0.3)).astype(int)  # 1 is mostly first
    chances = np.where(items == 1, np.where(places == 0, 0.8, 0.3), np.where(places == 0, 0.2, 0.7))
    rewards = rng.random(n) < 0.4 * np.array([1.0, 0.5])[places]
    found = item_effects(made(items, places.tolist(), chances, rewards))
    assert found.looked_at[1] == pytest.approx(0.5, abs=0.05)
    assert abs(found.effects[1] - found.effects[0]) < 0.03  # 4 standard errors
    assert found.rates[1] - found.rates[0] > 0.08  # what the places alone do


def test_in_a_world_the_level_and_the_places_are_found(tmp_path):
    settings = WorldConfig(slate=4, position_bias=ETA)
    world = World(users=150, items=60, seed=2, settings=settings)
    log = read_feedback(write_world(world, tmp_path))
    found = item_effects(log)
    assert found.looked_at == pytest.approx(examination(4, ETA), abs=0.06)
    known, count = np.zeros(60), np.zeros(60)
    for user in range(len(world)):
        shown, clicked = world.slates(user), []
        for step, items in enumerate(shown.items):
            wanted = world.attractions(user, np.array(clicked, dtype=np.int64))
            there = np.ones(60, dtype=bool)
            there[clicked] = False
            known[there] += wanted[there]
            count[there] += 1
            clicked += items[shown.clicks[step]].tolist()
    known /= count

    def off(each):
        return float(np.sqrt(np.mean((each - known) ** 2)))

    assert off(found.effects) < 0.5 * off(found.rates)
    assert np.mean((found.low <= known) & (known <= found.high)) > 0.75


def test_what_was_never_shown_is_as_all_are():
    log = made([0, 0, 1], [0, 0, 0], [0.5, 0.5, 0.5], [1, 0, 0], count=3)
    found = item_effects(log)
    assert found.effects[2] == pytest.approx(1 / 3)
    assert np.isnan(found.rates[2])


def test_without_a_click_at_the_first_place_nothing_is_known():
    with pytest.raises(DataError, match="nothing is clicked at place 0"):
        item_effects(made([0, 1], [0, 1], [0.5, 0.5], [0, 1]))


def test_where_nothing_is_clicked_a_place_is_not_looked_at():
    """And what stands there alone is as all are: nothing that is no number anywhere."""
    found = item_effects(made([0, 1] * 10, [0, 1] * 10, [0.5] * 20, [1, 0, 0, 0] * 5))
    assert found.looked_at.tolist() == [1, 0]
    assert found.effects.tolist() == pytest.approx([0.5, 0.5])
    assert np.isfinite([found.low, found.high]).all()


def test_of_one_person_there_is_no_interval():
    log = made([0, 1], [0, 0], [0.5, 0.5], [1, 0])
    with pytest.raises(DataError, match="is of one person"):
        item_effects(dataclasses.replace(log, people=np.zeros(2, dtype=np.int64)))


def test_the_command_lists_the_best_and_a_document_all(tmp_path):
    world = World(users=20, items=40, seed=0, settings=WorldConfig(slate=2))
    folder = write_world(world, tmp_path / "log")
    done = command("evaluate", "--off-policy", folder, "--effects")
    assert done.code == 0, done.err
    assert "Places are looked at" in done.out
    document = json.loads(command("evaluate", "--off-policy", folder, "--effects", "--json").out)
    items = document["items"]
    assert len(items) == 40
    assert all(isinstance(one["shown"], int) for one in items)
    assert [one["effect"] for one in items] == sorted(
        (one["effect"] for one in items), reverse=True
    )
    for words, told in (
        (("--off-policy", folder, "--effects", "--policy", "uniform"), "goes without --effects"),
        (("--effects",), "--effects: is of --off-policy LOG"),
    ):
        wrong = command("evaluate", *words)
        assert (wrong.code, told in wrong.error) == (2, True)
