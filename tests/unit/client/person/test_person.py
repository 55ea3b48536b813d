"""What a device says to its person follows from its folder, and from nothing else."""

import dataclasses
from html import escape

import numpy as np
import pytest

from client.page import html
from client.person.person import Person
from client.store import Interaction
from shared.errors import ConfigError, DataError
from tests.support.running import released
from tests.support.running.released import FILMS, begun, films, person, release


@pytest.fixture
def somebody(tmp_path, tiny_bert):
    return person(tmp_path, tiny_bert)


def chosen(who, *items):
    who.folder.store.add(Interaction(item, time) for time, item in enumerate(items))


def test_what_was_chosen_is_not_recommended_and_is_the_reason(somebody):
    before = somebody.recommend(3)
    assert all(not one.history for one in before)
    chosen(somebody, "orbit", "comet")
    found = somebody.recommend(len(FILMS))
    assert {one.item for one in found} == set(FILMS) - {"orbit", "comet"}
    for one in found:
        parts = one.popularity + one.language_model + sum(share for _, share in one.history)
        assert one.score == pytest.approx(parts, abs=1e-4)
        assert {title for title, _ in one.history} == {
            "The Last Orbit (1998)",
            "Comet Season (1999)",
        }
        assert one.reasons
    assert any("because you chose" in each for one in found for each in one.reasons)


def test_a_word_counts_at_once_and_its_undoing_leaves_no_trace(somebody):
    chosen(somebody, "orbit")
    before = somebody.recommend(5)
    kept = somebody.folder.store.interactions()
    disliked, liked = before[0].item, before[1].item
    somebody.feedback(disliked, False)
    assert disliked not in {one.item for one in somebody.recommend(len(FILMS))}
    somebody.feedback(liked, True)
    now = somebody.recommend(len(FILMS))
    assert not {disliked, liked} & {one.item for one in now}
    assert any(f"because you liked {before[1].title}" in " ".join(one.reasons) for one in now)
    assert [one.item for one in somebody.said()] == sorted(
        [disliked, liked], key=lambda item: FILMS[item]
    )
    assert somebody.knows() == 2
    somebody.feedback(disliked, None)
    somebody.feedback(liked, None)
    assert somebody.recommend(5) == before
    assert somebody.folder.store.interactions() == kept
    assert somebody.folder.store.opinions() == {}


def test_what_was_chosen_and_then_turned_down_is_no_reason(somebody):
    chosen(somebody, "orbit", "salt")
    somebody.feedback("orbit", False)
    one = somebody.recommend(1)[0]
    assert [title for title, _ in one.history] == ["Salt and Lanterns (1994)"]
    assert "orbit" not in {each.item for each in somebody.recommend(len(FILMS))}


def test_why_is_answered_of_any_item(somebody):
    chosen(somebody, "orbit")
    first = somebody.recommend(1)[0]
    assert somebody.why(first.item).score == pytest.approx(first.score, abs=1e-5)
    assert somebody.why("orbit").item == "orbit"
    for item in ("", "../../etc/passwd", "nothing"):
        with pytest.raises(DataError, match="is not among the 18 items"):
            somebody.why(item)
        with pytest.raises(DataError, match="is not among the 18 items"):
            somebody.feedback(item, True)


def test_a_profile_counts_what_was_chosen_and_names_nothing_else(somebody):
    assert somebody.profile().text.startswith("Nothing is known yet")
    chosen(somebody, "orbit", "salt", "glass")
    somebody.feedback("salt", False)  # and is no part of a taste any more
    somebody.feedback("winter", True)
    found = somebody.profile()
    assert found.by == "template"
    assert found.text.startswith("You chose 3 titles. The most frequent kinds are drama (2).")
    assert "Winter Timetable (1996)" in found.text
    named = {title for title in FILMS.values() if title.split(".")[0] in found.text}
    assert named == {FILMS[item] for item in ("orbit", "glass", "winter")}


def test_the_page_says_it_too_once_something_is_known(somebody):
    assert "In words" not in html.page(somebody, html.Asked())
    chosen(somebody, "orbit", "violin")
    assert escape(somebody.profile().text) in html.page(somebody, html.Asked())


def test_a_sentence_says_why_as_the_reasons_do(somebody):
    chosen(somebody, "orbit", "comet")
    one = somebody.why("signal")
    told = somebody.because("signal")
    assert told.text == f"{one.title}: {'; '.join(one.reasons)}."
    assert "The Last Orbit (1998)" in told.text


def test_more_than_there_are_is_all_there_are(somebody):
    assert len(somebody.recommend(1000)) == len(FILMS)
    with pytest.raises(ConfigError, match="-k 0"):
        somebody.recommend(0)
    for item in FILMS:
        somebody.feedback(item, False)
    with pytest.raises(ConfigError, match="turned down"):
        somebody.recommend(1)


def test_a_new_release_takes_the_place_of_the_model(somebody, tmp_path, tiny_bert):
    chosen(somebody, "orbit")
    before = somebody.recommend(3)
    opened = somebody._opened
    assert somebody.recommend(3) == before
    assert somebody._opened is opened  # built once
    somebody.folder.install(release(tmp_path / "2", tiny_bert, films(), version=2, seed=5))
    after = somebody.recommend(3)
    assert [one.score for one in after] != [one.score for one in before]
    assert somebody.ranks_by.startswith("Release 2,")


def test_before_a_release_public_texts_and_choices_rank(tmp_path, tiny_bert, monkeypatch):
    monkeypatch.setattr("client.serving.adapters.ExperimentConfig", lambda: small(tiny_bert))
    who = Person(begun(tmp_path / "state"))
    assert who.ranks_by.startswith("Nothing is published yet")
    chosen(who, "orbit")
    found = who.recommend(4)
    assert all(one.popularity == 0 for one in found)
    assert {"comet", "signal"} & {one.item for one in found}  # by kind and year
    assert who.leaves().messages == 0


def small(backbone):
    return released.settings_of(backbone, films())


def test_personal_tensors_are_the_persons_own(tmp_path, tiny_bert):
    from client.training.personal import PersonalTensors
    from shared.data.population import person_key

    who = person(tmp_path, tiny_bert, federation={"aggregation": "fedsa", "rounds": 3})
    chosen(who, "orbit")
    before = who.recommend(3)
    trained = who._opened[2]
    store = PersonalTensors.of(
        trained.config, trained.schema, 3, who.folder.path / "personal.sqlite"
    )
    own = np.full((1, store._own.dim), 0.5, dtype=np.float32)
    store._store.keep([person_key("ann")], 3, own)
    after = Person(who.folder).recommend(3)
    assert [one.score for one in after] != [one.score for one in before]


def test_a_search_finds_words_in_any_case(somebody):
    assert [one.item for one in somebody.find("sci-fi the")] == ["orbit"]
    assert {one.item for one in somebody.find("OTTERS")} == {"otters"}
    assert somebody.find("nothing of the kind") == []
    assert somebody.thing("orbit") == dataclasses.replace(somebody.find("orbit")[0])
