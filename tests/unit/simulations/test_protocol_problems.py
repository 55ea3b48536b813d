"""What results state of the negatives must not contradict their settings and their items."""

import pytest

from shared.data.protocol import Protocol
from simulations.results import Results
from simulations.verify.fields import protocol_problems

HONEST = {
    "as asked": Protocol.of([5] * 40, 300, 99),
    "few items": Protocol.of([6] * 5, 15, 99),
    "half of them certain": Protocol.of([50, 60], 66, 99),
    "one met nearly all": Protocol.of([3] * 40 + [295], 300, 99),
    "four asked for": Protocol.of([5] * 40, 300, 4),
}
FORGED = {
    "another number asked for": {"negatives": 100},
    "more than asked for": {"least": 100, "median": 100.0},
    "least above the median": {"least": 60},
    "more than there are items": {"least": 58, "median": 58.0, "certain": 0},
    "certain where enough compete": {"certain": 1},
    "nobody certain among three": {"least": 3},
    "a word": {"least": "99"},
    "nothing": {"median": None},
    "none": {"least": 0, "certain": 9},
}


def stated(found, **changes):
    data = {"users": found.users, "items": found.items, **found.stated()}
    drawn = {**data["negatives_drawn"], **{k: v for k, v in changes.items() if k != "negatives"}}
    data |= {"negatives_drawn": drawn, "negatives": changes.get("negatives", data["negatives"])}
    settings = {"data": {"negatives": found.negatives_wanted}}
    return Results({"schema": 1, "points": [], "data": data, "config": settings})


@pytest.mark.parametrize("found", HONEST.values(), ids=HONEST)
def test_what_was_drawn_may_be_stated(found):
    assert protocol_problems(stated(found)) == []


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED)
def test_what_cannot_have_been_drawn_is_a_problem(changes):
    honest = Protocol.of([10] * 40, 60, 99)
    assert protocol_problems(stated(honest)) == []
    (problem,) = protocol_problems(stated(honest, **changes))
    assert "contradict settings and items" in problem


def test_where_nothing_is_stated_there_is_nothing_to_contradict():
    assert protocol_problems(Results({"schema": 1, "points": [], "data": {"users": 3}})) == []
