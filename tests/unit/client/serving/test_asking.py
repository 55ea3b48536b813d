"""Ranking as asked: an exact sum, a soft constraint, and words that are kept nowhere."""

import numpy as np
import pytest

from client.serving.adapters import open_release
from client.serving.asking import read_wish, recommend_as_asked
from client.serving.recommend import recommend
from client.words.facts import Items
from client.words.wish import WEIGHT
from shared.published import ADAPTER
from tests.support.running.released import FILMS, films, release

NAMES = list(FILMS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_bert):
    folder = release(tmp_path_factory.mktemp("asked") / "1", tiny_bert, films())
    return open_release(folder / ADAPTER, films())


def asked(trained, words, history=(), k=5):
    wish = read_wish(trained, Items(films()), words)
    return wish, recommend_as_asked(trained, np.array(history, dtype=np.int64), k, wish)


def plain(trained, history=(), k=5):
    return recommend(trained.recommender, np.array(history, dtype=np.int64), 8, k)


def test_a_score_is_its_parts_and_what_was_asked(trained):
    history = [0, 3]
    _, found = asked(trained, "comedy, no romance", history, k=16)
    before = {one.item: one for one in plain(trained, history, k=16)}
    spread = np.std([one.score for one in before.values()], ddof=1)
    for one in found:
        text = FILMS[NAMES[one.item]]
        facts = ("Comedy" in text) - ("Romance" in text)
        assert one.asked == pytest.approx(WEIGHT * facts * spread, rel=1e-4)
        assert one.score == pytest.approx(before[one.item].score + one.asked, abs=1e-5)
        parts = one.popularity + one.language_model + sum(share for _, share in one.history)
        assert one.score == pytest.approx(parts + one.asked, abs=1e-4)
    assert "Comedy" in FILMS[NAMES[found[0].item]]


def test_asking_for_nothing_changes_nothing(trained):
    _, found = asked(trained, "", [0, 3])
    assert found == plain(trained, [0, 3])


def test_a_title_that_is_named_is_the_latest_choice(trained):
    _, found = asked(trained, "like The Last Orbit", [0])
    assert found == plain(trained, [0, NAMES.index("orbit")])
    _, new = asked(trained, "like The Last Orbit")
    assert new == plain(trained, [NAMES.index("orbit")])
    _, turned = asked(trained, "not like The Last Orbit", k=17)
    assert NAMES.index("orbit") not in {one.item for one in turned}


def test_the_words_are_kept_nowhere(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("STARLING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    asked(trained, "zebra crossings and comedy")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
