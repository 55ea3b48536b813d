"""No sentence gets through that names anything else than a person's own items."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.words.check import Checker, Titles
from client.words.facts import Items, facts_of
from client.words.plain import PLAIN
from client.words.said import TEMPLATE, profile_sentences, said
from shared.data.catalogue import Catalogue

TEXTS = (
    "Alien (1979). Horror, Sci-Fi",
    "Aliens (1986). Action, Sci-Fi",
    "Heat (1995). Action, Crime",
    "Big (1988). Comedy",
    "Star Trek: First Contact (1996). Sci-Fi",
    "Star Trek (1979). Sci-Fi",
    "Godfather, The (1972). Crime, Drama",
    "Before and After (1996). Drama",
    "Alien 3 (1992). Horror, Sci-Fi",
    "Sabrina (1954). Romance",
    "Sabrina (1995). Romance",
    "Never Say Never (1983). Action",
    "187 (1997). Drama",
    "Mr. Holland's Opus (1995). Drama",
    "You (1999). Drama",
)
CATALOGUE = Catalogue(tuple(map(str, range(len(TEXTS)))), TEXTS)
ITEMS = Items(CATALOGUE)
TITLES = Titles(ITEMS)
ALIEN, HEAT, CONTACT, GODFATHER, OLD_SABRINA, NEVER, OPUS = CHOSEN = (0, 2, 4, 6, 9, 11, 13)


def checker(chosen=CHOSEN, liked=()):
    return Checker(facts_of(ITEMS, chosen, liked), TITLES)


GOOD = (
    "You chose Alien and Heat.",
    "You chose Alien (1979), The Godfather (1972) and Mr. Holland's Opus.",
    'You chose "Alien" and “The Godfather”.',
    "You chose Godfather, The (1972).",
    "Never Say Never is action.",  # a title with a negation in it
    "Alien is horror of the 1970s.",
    "Alien and Star Trek: First Contact are both sci-fi.",
    "You chose 2 crime films and 2 of action.",
    "Crime (2), drama (2) and action (2).",
    "Mostly action of the 1990s.",
    "You enjoy horror and films of the seventies.",
    "You chose 7 titles.",
    "You chose Sabrina.",  # one of the two that are called so
    "Lately you chose Heat.",
    "You are drawn to crime.",  # also the name of a film
)
BAD = {
    # invented
    "You chose The Silent Orchard.": "'The' is in none",
    'You chose "The Silent Orchard (1994)".': "is in none",
    "You chose it, as did Spielberg.": "'Spielberg' is in none",
    "You enjoy films about robots.": "'robots' is in none",
    # parts of titles
    "You chose Star Trek.": "'Star Trek' is none of the titles",
    "You chose First Contact.": "is in none",
    "You chose Godfather.": "'Godfather' is in none",
    "You chose Mr. Holland.": "is in none",
    # longer titles
    "You chose Alien 3.": "'Alien 3' is none of the titles",
    "You chose Heat 2.": "is a longer title",
    "You chose Heat II.": "is a longer title",
    "You chose Alien Resurrection.": "'Resurrection' is in none",
    "You chose Aliens.": "'Aliens' is none of the titles",
    "You chose Heat-Wave.": "is in none",
    # titles of other items
    "You chose Alien 3 and Heat.": "is none of the titles",
    "You chose Before and After.": "'Before and After' is none of the titles",
    # changed years
    "You chose Alien (1980).": "'Alien (1980)' is none of the titles",
    "You chose Sabrina (1995).": "'Sabrina (1995)' is none of the titles",
    "Alien is of the 1980s.": "is not true of every title",
    "You chose films of 1984.": "is true of none",
    "You chose films of the 1960s.": "is true of none",
    # negations
    "You never chose Alien.": "'never' is in none",
    "You did not choose Heat.": "'not' is in none",
    "You didn't choose Heat.": "is in none",
    "You enjoy no horror.": "'no' is in none",
    "You chose everything except Heat.": "is in none",
    # quotes
    'You chose "action".': "is in none",
    'You said "more like it".': "is in none",
    # titles that are common words
    "You chose Big.": "'Big' is none of the titles",
    "Big is what you chose.": "'Big' is none of the titles",
    "Mostly You is what you chose.": "'You' is none of the titles",
    "You chose alien and heat.": "'alien' is in none",
    # other spellings
    "You chose ALIEN.": "is in none",
    "You chose Al\u200bien 3.": "is none of the titles",
    "You chose \uff28eat 2.": "is a longer title",
    "You chose \u0410lien.": "is in none",  # the first letter is Cyrillic
    # facts
    "Alien is a comedy.": "'comedy' is in none",
    "Heat is horror.": "is not true of every title",
    "Alien and Heat are action.": "is not true of every title",
    "You chose 3 crime films.": "'3' is not the count for 'crime'",
    "Crime (5) is frequent.": "'5' is not the count",
    "You chose 9 titles.": "'9' is not the count",
    "You chose eleven titles.": "'eleven' is not the count",
    "You mostly choose romance.": "'romance' is not what leads",
    "You choose only crime.": "is not true of all",
    "You liked Alien.": "says of a title that it was liked",
    "Alien is your favourite.": "says of a title that it was liked",
    # as models write
    "You enjoy horror, action, horror.": "'horror' is said twice",
    "You enjoy horror and": "does not end",
}


@pytest.mark.parametrize("text", GOOD)
def test_what_is_true_passes(text):
    assert [each.wrong for each in checker().findings(text)] == [""], text


@pytest.mark.parametrize("text", BAD)
def test_what_is_not_is_refused_with_the_reason(text):
    found = checker().findings(text)
    assert not checker().passes(text)
    assert any(BAD[text] in each.wrong for each in found), found


def test_one_bad_sentence_does_not_take_the_others_along():
    text = "You chose Alien. You chose The Silent Orchard! You enjoy horror."
    assert [bool(each.wrong) for each in checker().findings(text)] == [False, True, False]


def test_what_is_recent_and_what_is_liked_may_be_called_so():
    chosen = (ALIEN, *[HEAT] * 10)
    assert checker(chosen).passes("Lately you chose Heat.")
    assert not checker(chosen).passes("Lately you chose Alien.")
    assert not checker(chosen).passes("Lately you chose horror.")
    assert checker(liked=[ALIEN]).passes("You liked Alien.")
    assert not checker(liked=[HEAT]).passes("You liked Alien.")


def test_an_empty_text_says_nothing():
    assert not checker().passes("")
    assert not checker().passes(" \n ")


def test_no_plain_word_denies():
    denials = {
        "no",
        "not",
        "never",
        "without",
        "nor",
        "neither",
        "none",
        "except",
        "than",
        "hardly",
    }
    assert not PLAIN & denials


@given(st.lists(st.integers(0, len(TEXTS) - 1), unique=True, max_size=len(TEXTS)))
def test_every_template_passes_its_own_check(chosen):
    facts = facts_of(ITEMS, chosen)
    for sentence in profile_sentences(facts) if chosen else ():
        found = Checker(facts, TITLES).findings(sentence)
        assert len(found) == 1
        assert [each.wrong for each in found] == [""], found


@given(
    st.sets(st.integers(0, len(TEXTS) - 1), min_size=1),
    st.integers(0, len(TEXTS) - 1),
    st.sampled_from(("You chose {}.", "{} is what you chose.", 'As with "{}", you chose it.')),
)
def test_a_title_passes_exactly_if_it_is_one_of_theirs(chosen, other, frame):
    title = ITEMS[other].title  # with its year: two films may share the rest
    assert checker(sorted(chosen)).passes(frame.format(title)) == (other in chosen)


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "Z")), max_size=60))
def test_any_text_is_answered(text):
    for each in checker().findings(text):
        assert isinstance(each.wrong, str)


def test_what_fails_is_replaced_by_the_template_and_told():
    draft = "You enjoy crime. You chose The Silent Orchard. Lately you chose Heat and Alien."
    found = said("T.", checker(), draft, "model")
    assert (found.text, found.by) == ("You enjoy crime. Lately you chose Heat and Alien.", "model")
    assert [each.sentence for each in found.refused] == ["You chose The Silent Orchard."]
    little = said("T.", checker(), "You enjoy crime. You like to watch films.", "model")
    assert (little.text, little.by) == ("T.", TEMPLATE)
    assert "says nothing" in little.refused[0].wrong
    assert said("T.", checker(), "Heat is action.", "model", {"Alien (1979)"}).by == TEMPLATE
    assert said("T.", checker(), "Heat is action.", "model", {"Heat (1995)"}).by == "model"
