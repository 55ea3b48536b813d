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


@pytest.mark.parametrize("name", ["negatives_drawn", "negatives", "evaluated_users", "items"])
def test_a_simulation_leaves_none_of_it_out(name):
    whole = stated(Protocol.of([10] * 40, 60, 99))
    data = {key: value for key, value in whole.data.items() if key != name}
    tree = {**whole.stated, "data": data}
    assert protocol_problems(Results(tree))
    assert protocol_problems(Results({**tree, "name": "run"})) == []  # real devices: not known


def test_no_more_people_are_evaluated_than_the_settings_ask():
    whole = stated(Protocol.of([10] * 40, 60, 99))
    config = {"data": {"negatives": 99, "evaluated_users": 39}}
    assert protocol_problems(Results({**whole.stated, "config": config}))
