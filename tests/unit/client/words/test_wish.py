"""What is asked for in words becomes facts of the catalogue, and what is not understood is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.words.facts import Items
from client.words.wish import Reader
from tests.support.running.released import FILMS, films

NAMES = list(FILMS)
VECTORS = np.eye(len(NAMES), dtype=np.float32)
VECTORS[NAMES.index("comet"), NAMES.index("orbit")] = 0.5  # a little alike


def reader(encode=None):
    return Reader(Items(films()), VECTORS, encode)


def told(words, encode=None):
    return " ".join(reader(encode).read(words).told())


def having(words, encode=None):
    """Items by what they gain."""
    fit = reader(encode).read(words).fit(len(NAMES))
    return {name: value for name, value in zip(NAMES, fit.tolist(), strict=True) if value}


KNOWN = {
    "comedy": "Understood: comedy.",
    "comedies and musicals": "Understood: comedy. Not understood: musicals.",  # of one film alone
    "Sci Fi": "Understood: sci-fi.",
    "something lighter": "Understood: comedy (for 'lighter').",
    "no drama": "Understood: not drama.",
    "without drama or crime, but adventure": "Understood: not drama; not crime; adventure.",
    "I don\u2019t want a thriller": "Understood: not thriller.",
    "from the nineties": "Understood: of 1990 to 1999.",
    "'90s or 2000s": "Understood: of 1990 to 1999 or of 2000 to 2009.",
    "the 00s": "Understood: of 2000 to 2009.",
    "before 1996": "Understood: up to 1995.",
    "since 2003": "Understood: from 2003 on.",
    "after 2003": "Understood: from 2004 on.",
    "between 1995 and 1997": "Understood: of 1995 to 1997.",
    "from 1998": "Understood: of 1998.",
    "not from 1998": "Understood: not of 1998.",
    "older": "Understood: up to 1996 (for 'older').",
    "newest": "Understood: from 2001 on (for 'newest').",
    "like Night Ferry": "Understood: like Night Ferry (1999).",
    "like winter timetable and Paper Planes": (
        "Understood: like Winter Timetable (1996); like Paper Planes (2004)."
    ),
    "not like Deep Field": "Understood: not like Deep Field (2005).",
    "with Tom Hanks": "Not understood: Tom, Hanks.",
    "xyzzy 17": "Not understood: xyzzy, 17.",
    "": "Nothing in particular was asked for.",
    "I would like some good films, please": "Nothing in particular was asked for.",
}


@pytest.mark.parametrize("words", KNOWN)
def test_what_was_understood_is_told(words):
    assert told(words) == KNOWN[words]


def test_items_gain_what_they_have_and_lose_what_is_not_wanted():
    assert having("comedy") == dict.fromkeys(("bakery", "paper", "tango", "harvest"), 1)
    found = having("sci-fi, no drama, from the nineties")
    assert found["orbit"] == found["comet"] == 2
    assert not {"deep", "winter"} & set(found)  # sci-fi but drama; of these years but drama
    assert found["dust"] == 1
    assert having("not like The Last Orbit") == {"orbit": -1, "comet": -1}


def test_a_title_that_is_wanted_is_read_as_history():
    wish = reader().read("like Night Ferry and Deep Field, not like Comet Season")
    assert [NAMES[item] for item in wish.named] == ["ferry", "deep"]
    assert [NAMES[item] for item in wish.rejected] == ["comet"]


def encoded(texts):
    """Made up: mafia is near crime, ambiguous as near drama as comedy; all else is nowhere."""
    kinds = {"crime": (1, 0, 0), "drama": (0, 1, 0), "comedy": (0, 0, 1)}
    words = {"mafia": (0.9, 0.3, 0), "ambiguous": (0, 0.7, 0.7), "far": (0.2, 0, 0)}
    known = kinds | words
    return np.array([(*known.get(text, (0, 0, 0)), 0.5) for text in texts], dtype=np.float32)


def test_an_encoder_names_the_kind_that_a_word_means_or_none():
    assert told("about the mafia", encoded) == "Understood: crime (for 'mafia')."
    assert told("no mafia", encoded) == "Understood: not crime (for 'mafia')."
    assert told("ambiguous", encoded) == "Not understood: ambiguous."
    assert told("somebody called Mafia", encoded).endswith("called, Mafia.")


@given(st.text(max_size=60) | st.lists(st.sampled_from(sorted(KNOWN)), max_size=4).map(", ".join))
def test_any_words_are_answered(words):
    wish = reader().read(words)
    fit = wish.fit(len(NAMES))
    assert np.isfinite(fit).all()
    assert np.abs(fit).max() <= len(wish.parts)
    assert list(wish.told())
    assert all(part.match.min() >= 0 and part.match.max() <= 1 for part in wish.parts)
