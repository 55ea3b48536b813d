"""`results.json` as a typed view: nothing is lost, nothing is trusted."""

import json
import math

import pytest

from shared.errors import ConfigError, DataError
from simulations.results import Claim, Point, Reference, Results

POINT = {
    "epsilon_target": math.inf,
    "epsilon": math.inf,
    "unit": "user",
    "rounds": 3,
    "cohort": 9.0,
    "seed": 1,
    "nobody knows this": [1, {"deep": None}],
    "metrics": {"hr@10": 0.5},
    "ledger": {"file": "ledger-eps-inf-seed-1.jsonl", "entries": 2},
}
TREE = {"schema": 1, "also unknown": 0, "complete": False, "points": [POINT], "references": {}}


def test_what_is_read_is_written_again_to_the_letter(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    Results(TREE).write(tmp_path / "one" / "results.json", {})
    Results.read(tmp_path / "one" / "results.json").write(tmp_path / "two" / "results.json", {})
    text = (tmp_path / "one" / "results.json").read_text()
    assert text == (tmp_path / "two" / "results.json").read_text()
    assert '"epsilon": "inf"' in text
    assert list(json.loads(text)) == [*TREE, "seal"]
    assert list(json.loads(text)["points"][0]) == list(POINT)


def test_a_written_point_is_the_same_as_one_in_memory(tmp_path):
    Results(TREE).write(tmp_path / "results.json", {})
    for results in (Results(TREE), Results.read(tmp_path / "results.json")):
        (point,) = results.points
        assert (point.target, point.epsilon, point.private) == (math.inf, math.inf, False)
        assert point.number("epsilon") == math.inf
        assert point.metrics == {"hr@10": 0.5}
        assert point.ledger["entries"] == 2
        assert not results.complete
        assert results.private_claims == []


def test_a_run_goes_on_by_points_and_references_and_nothing_else_moves():
    more = Results(TREE).having([Point({"a": 1})], {"r": Reference({"b": 2})}, complete=True)
    assert list(more.stated) == list(TREE)
    assert [point.stated for point in more.points] == [{"a": 1}]
    assert more.references == {"r": Reference({"b": 2})}
    assert more.complete


def test_what_belongs_to_both_guarantees_is_of_the_inner_one_too():
    inner = {"epsilon": 2.0, "unit": "example", "rounds": 2}
    own, of_examples = Point({**POINT, "example": inner}).claims
    assert own.get("unit") == "user"
    assert of_examples == Claim({"rounds": 2, "cohort": 9.0, "seed": 1} | inner)
    assert len(Point({**POINT, "example": None}).claims) == 2  # nothing may stand unread


@pytest.mark.parametrize("value", [None, True, "8", [], {}, 10**400, math.nan])
def test_what_is_no_number_equals_nothing(value):
    assert math.isnan(Claim({"epsilon": value}).number("epsilon"))


@pytest.mark.parametrize("value", [None, "low", [], 10**400, 0])
def test_what_is_no_epsilon_is_refused_in_a_line(value):
    with pytest.raises(DataError, match="expected a number above 0"):
        _ = Claim({"epsilon": value}).epsilon


@pytest.mark.parametrize("data", [None, [], {}, {"users": 0}, {"users": True}, {"users": 10**400}])
def test_users_that_are_not_stated_are_none(data):
    assert Results({**TREE, "data": data}).users is None


def test_a_damaged_file_of_ours_is_refused_in_a_line(tmp_path):
    Point({**POINT, "delta": 1e-5}).write(tmp_path / "sealed.json", {})
    with pytest.raises(ConfigError, match=r"sealed\.json: damaged, relation is missing"):
        Point.read(tmp_path / "sealed.json")
    Reference({"metrics": {}}).write(tmp_path / "reference.json", {})
    with pytest.raises(ConfigError, match="validation is missing"):
        Reference.read(tmp_path / "reference.json")
