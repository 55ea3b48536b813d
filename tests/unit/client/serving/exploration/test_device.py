"""A slate for one person: the model's order before feedback, their own after it, all of it kept."""

import numpy as np
import pytest

from client.device.folder import SETTINGS
from client.serving.exploration import NAMES
from client.serving.exploration.device import Exploration, Scene, slate
from client.store import Interaction, Shown
from shared.data.catalogue import Catalogue
from shared.errors import ConfigError
from tests.support.running.released import FILMS, person

CATALOGUE = Catalogue(tuple("abcdef"), tuple(f"Text of {item * 3}" for item in "abcdef"))
SCENE = Scene(
    np.array([1.5, 0.5, 0.2, -0.2, -0.5, -1.5]),
    np.vstack([np.eye(3), np.eye(3)]),
    np.arange(6.0),
    np.array([True, True, True, True, True, False]),
)


def chosen(name, rows=(), places=2, strength=1e-6, seed=0, owned=None):
    return slate(
        SCENE,
        CATALOGUE,
        rows,
        (name, strength, places),
        owned or Exploration(),
        np.random.default_rng(seed),
    )


def row(item, clicked, position=0, fit=0.0):
    return Shown(1, position, item, 0.5, fit, "greedy", 0.0, 1, clicked)


def test_before_feedback_the_order_is_the_models():
    found = chosen("greedy", places=5, strength=0.0)
    assert [each.item for each in found] == ["a", "b", "c", "d", "e"]
    assert [each.position for each in found] == [0, 1, 2, 3, 4]
    assert [each.propensity for each in found] == [1.0] * 5


def test_feedback_on_an_item_is_learned_for_those_that_are_like_it():
    liked = [row("e", True, fit=-0.5)] * 12
    assert chosen("greedy", liked, strength=0.0)[0].item in ("b", "e")  # alike in their vectors
    turned = [row("a", False, fit=1.5)] * 40
    assert chosen("greedy", turned, strength=0.0)[0].item != "a"


def test_a_place_that_is_seldom_looked_at_says_less():
    """Not clicked at place 9 says little; it would say all the same without position bias."""
    unseen = [row("a", False, position=9, fit=1.5)] * 15
    eta = Exploration(position_bias=3.0)
    assert chosen("greedy", unseen, strength=0.0, owned=eta)[0].item == "a"
    eta = Exploration(position_bias=0.0)
    assert chosen("greedy", unseen, strength=0.0, owned=eta)[0].item != "a"


def test_items_that_the_catalogue_lost_teach_nothing():
    assert chosen("linucb", [row("gone", True)], strength=1.0) == chosen("linucb", strength=1.0)


@pytest.fixture
def somebody(tmp_path, tiny_bert):
    who = person(tmp_path, tiny_bert)
    who.folder.store.add([Interaction("orbit", 1), Interaction("comet", 2)])
    return who


def allow(who, text="allowed = true"):
    file = who.folder.path / SETTINGS
    kept = file.read_text().partition("[exploration]")[0]
    file.write_text(f"{kept}[exploration]\n{text}\n")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_is_kept_with_its_propensity(name, somebody):
    allow(somebody)
    found = somebody.explore(3, name, np.random.default_rng(2))
    rows = somebody.folder.store.shown()
    assert [each.item for each in rows] == [each.item for each in found.items]
    assert [each.propensity for each in rows] == list(found.propensities)
    assert [each.position for each in rows] == [0, 1, 2]
    assert {(each.policy, each.slate, each.clicked) for each in rows} == {(name, 1, False)}
    assert all(0 < each.propensity <= 1 for each in rows)
    assert not {"orbit", "comet"} & {each.item for each in rows}


def test_feedback_closes_the_loop_and_its_undoing_opens_it_again(somebody):
    allow(somebody)
    somebody.explore(3, "greedy")
    somebody._clock = lambda: 2**33  # later than what was shown
    first = somebody.folder.store.shown()[1].item
    somebody.feedback(first, True)
    clicked = [each.item for each in somebody.folder.store.shown() if each.clicked]
    assert clicked == [first]
    somebody.explore(3, "greedy")
    assert somebody.folder.store.shown()[-1].slate == 2
    somebody.feedback(first, None)
    assert not any(each.clicked for each in somebody.folder.store.shown())
    somebody.feedback(first, False)
    assert not any(each.clicked for each in somebody.folder.store.shown())


def test_the_last_showing_before_a_word_is_the_one_that_is_clicked(somebody):
    allow(somebody)
    for time in (10, 20, 30):
        somebody._clock = lambda time=time: time
        somebody.explore(2, "greedy")
        if time == 20:
            item = somebody.folder.store.shown()[0].item
            somebody._clock = lambda: 25
            somebody.feedback(item, True)
    rows = [each for each in somebody.folder.store.shown() if each.item == item]
    assert [(each.time, each.clicked) for each in rows] == [(10, False), (20, True)]


def test_it_is_off_until_the_owner_allows_it(somebody):
    with pytest.raises(ConfigError, match=r"does not allow it; write allowed = true under \[expl"):
        somebody.explore(3, "greedy")
    assert somebody.folder.store.shown() == []
    allow(somebody, "allowed = 1")
    with pytest.raises(ConfigError, match=r"exploration\.allowed"):
        somebody.explore(3, "greedy")
    allow(somebody, "allowd = true")
    with pytest.raises(ConfigError, match="did you mean allowed"):
        somebody.explore(3, "greedy")


def test_what_was_shown_is_exported_and_forgotten_with_the_rest(somebody, tmp_path):
    allow(somebody)
    somebody.explore(2, "softmax")
    first, second = (each.item for each in somebody.folder.store.shown())
    somebody.export(tmp_path / "all.json")
    assert '"shown": [\n' in (tmp_path / "all.json").read_text()
    somebody.folder.forget(first)
    assert [each.item for each in somebody.folder.store.shown()] == [second]
    assert len(FILMS) > 2
