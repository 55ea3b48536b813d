"""Among what people's held-out items are ranked, as it was carried out and as it is told."""

import pytest

from shared.data.protocol import FEW, Protocol, negatives_in_words, protocol_warnings

MANY = 40  # people, enough that nothing is said of their number


@pytest.mark.parametrize(
    ("lengths", "items", "wanted", "stated"),
    [
        pytest.param([5] * MANY, 300, 99, (MANY, 99, 99, 0), id="as asked"),
        pytest.param([5] * MANY, 104, 99, (MANY, 99, 99, 0), id="just as many"),
        pytest.param([5] * MANY, 103, 99, (MANY, 98, 98, 0), id="one is missing"),
        pytest.param([5] * 20 + [9] * 20, 104, 99, (MANY, 95, 97, 0), id="some met more"),
        pytest.param([5] * MANY, 15, 99, (MANY, 10, 10, 0), id="ten compete"),
        pytest.param([6] * MANY, 15, 99, (MANY, 9, 9, MANY), id="nine: always a hit"),
        pytest.param([4] * 8, 5, 99, (8, 1, 1, 8), id="five items"),
        pytest.param([3] * MANY + [300], 300, 99, (MANY, 99, 99, 0), id="one met all"),
        pytest.param([3] * MANY + [295], 300, 99, (MANY + 1, 5, 99, 1), id="one met nearly all"),
        pytest.param([2, 1, 0, 3], 300, 99, (1, 99, 99, 0), id="one is long enough"),
        pytest.param([5] * MANY, 300, 4, (MANY, 4, 4, MANY), id="four are asked for"),
        pytest.param([5] * 39 + [297], 300, 4, (MANY, 3, 4, MANY), id="of four three are left"),
        pytest.param([2] * MANY, 300, 99, (0, 0, 0, 0), id="nobody is long enough"),
        pytest.param([], 300, 99, (0, 0, 0, 0), id="nobody"),
    ],
)
def test_what_is_stated_was_drawn(lengths, items, wanted, stated):
    found = Protocol.of(lengths, items, wanted)
    evaluated, least, median, certain = stated
    assert found.stated() == {
        "evaluated_users": evaluated,
        "negatives": wanted,
        "negatives_drawn": {"least": least, "median": median, "certain": certain},
    }
    assert found.evaluated + found.short + found.met_all == found.users == len(lengths)
    told = " ".join(protocol_warnings(found.stated()))
    assert (f"among as few as {least} sampled" in told) is (0 < least < wanted)
    assert (f"For {certain} of {evaluated} people HR@10 is 1" in told) is (certain > 0)
    left = [items - n for n in lengths if 3 <= n < items]
    full = sum(n < 10 for n in left)
    assert ("So is full HR@10 of test items for them." in told) is (certain > 0 and wanted >= 10)
    assert ("to whom fewer than 10 items are left" in told) is (wanted < 10)
    assert wanted < 10 or full == certain
    assert ("evaluated: figures over so few" in told) is (0 < evaluated < FEW)
    assert bool(found.why_nobody) is (evaluated == 0)


def test_why_nobody_is_evaluated_is_said_in_words_about_the_data():
    assert Protocol.of([2, 1, 15], 15, 99).why_nobody == (
        "nobody can be evaluated: of 3 people 2 have fewer than 3 interactions (one to train on, "
        "one to validate, one to test) and 1 met all 15 items, so that nothing competes"
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "among sampled negatives"),
        ({"negatives": 99}, "among at most 99 sampled negatives"),
        (
            {"negatives": 99, "negatives_drawn": {"least": 99, "median": 99.0}},
            "among 99 sampled negatives",
        ),
        (
            {"negatives": 99, "negatives_drawn": {"least": 7, "median": 40.5}},
            "among as few as 7 sampled negatives (median 40.5; 99 asked for)",
        ),
    ],
)
def test_the_sentence_says_no_more_than_is_known(data, words):
    assert negatives_in_words(data) == words
    assert protocol_warnings({name: data[name] for name in data if name == "negatives"}) == []
