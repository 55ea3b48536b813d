"""Audits of runs that are not ours: what checks say of one that is right, and of mistakes."""

import json
import math

import pytest

from simulations.audit.bounds import ANY, OFF
from simulations.audit.checks import noise, people, record
from simulations.audit.foreign import audited, read
from simulations.audit.static import cause
from simulations.audit.threats import ALL_ROUNDS, FINAL
from tests.support.auditing import foreign

POISSON = {"kind": "poisson", "probability": 0.4}
FIXED = {"kind": "fixed", "cohort": 48}


def audit(folder, **planted):
    foreign.write(folder, **planted)
    return audited(read(folder))


def verdict(findings, name):
    return next(each.verdict for each in findings if each.name == name)


RIGHT = {
    "the mean": {},
    "the sum": {"released": "sum"},
    "the model": {"released": "model"},
    "updates before the clip alone": {"keep": ("sent", "released")},
    "noise by its deviation on the mean": {
        "claim__noise": {"deviation": 2.0 * 0.5 / 120, "of": "mean"}
    },
    "noise by its deviation on the sum": {"claim__noise": {"deviation": 1.0, "of": "sum"}},
    "Poisson samples": {"claim__sampling": POISSON, "claim__epsilon": 3.0},
    "replacing one": {"claim__relation": "replace_one", "claim__epsilon": 14.0},
    "adding or removing one": {"claim__relation": "add_or_remove"},
    "weights by examples": {
        "claim__weights": "examples",
        "by_examples": True,
        "claim__epsilon": 60.0,
    },
}


@pytest.mark.parametrize("settings", RIGHT.values(), ids=RIGHT)
def test_nothing_is_said_of_a_run_that_is_right(tmp_path, settings):
    found = audit(tmp_path, **settings)
    assert cause(found) is None
    for name in (people.CLIP, noise.SCALE, noise.SHAPE, noise.FRESH, people.WEIGHTS, record.RAW):
        assert verdict(found, name) == "holds", name
    for name in (people.SAMPLING, record.LEDGER, record.EPSILON, OFF):
        assert verdict(found, name) == "holds", name


WRONG = {
    "half the noise": ({"noise": 0.5}, noise.SCALE),
    "noise for a mean": ({"noise": 1 / foreign.CLIENTS}, noise.MEAN),
    "no noise": ({"noise": 0.0}, record.RAW),
    "no clip": ({"clip": False}, people.CLIP),
    "no clip, which is not seen": ({"clip": False, "keep": ("sent", "released")}, people.CLIP),
    "the same noise": ({"alike": True}, noise.FRESH),
    "weights by examples": ({"by_examples": True}, people.WEIGHTS),
    "fixed cohorts that are claimed to be Poisson": (
        {"cohorts": FIXED, "claim__sampling": POISSON},
        people.SAMPLING,
    ),
    "Poisson cohorts that are claimed to be fixed": (
        {"cohorts": POISSON, "claim__sampling": FIXED},
        people.SAMPLING,
    ),
    "cohorts that are claimed to be everyone": ({"cohorts": FIXED}, people.SAMPLING),
    "a round more than is counted": ({"released_rounds": foreign.ROUNDS + 1}, record.LEDGER),
    "epsilon without all rounds": ({"claim__epsilon": 2.5}, record.EPSILON),
    "epsilon as if cohorts were sampled": ({"claim__epsilon": 3.0}, record.EPSILON),
    "epsilon of half the sensitivity": (
        {"claim__relation": "replace_one", "claim__epsilon": 5.0},
        record.EPSILON,
    ),
    "epsilon as if the heaviest weighed one": (
        {"claim__weights": "examples", "by_examples": True},
        record.EPSILON,
    ),
}


@pytest.mark.parametrize(("settings", "name"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_named(tmp_path, settings, name):
    assert cause(audit(tmp_path, **settings)) == name


def test_without_noise_a_bound_is_above_the_claim(tmp_path):
    found = audit(tmp_path, noise=0.0, claim__epsilon=1.0, claim__noise={"multiplier": 12.0})
    assert verdict(found, ANY) == "violated"
    assert not [e for e in found if e.name == ANY and e.threat_model == FINAL]  # of a mean


def test_the_last_model_is_a_view_of_its_own(tmp_path):
    found = audit(tmp_path, released="model")
    assert [e.threat_model for e in found if e.name == ANY] == [ALL_ROUNDS, FINAL]


def test_what_is_not_there_is_not_shown(tmp_path):
    """Of each part that a folder may lack, what stays."""
    every = audit(tmp_path / "every")
    assert verdict(every, people.CLIP) == "holds"
    releases = audit(tmp_path / "releases", keep=("released",))
    for name in (people.CLIP, record.RAW, noise.SCALE, noise.SHAPE, noise.FRESH, people.WEIGHTS):
        assert verdict(releases, name) == "not shown"
    for name in (people.SAMPLING, record.LEDGER, record.EPSILON):
        assert verdict(releases, name) == "holds"
    assert verdict(releases, OFF) == "not shown"
    updates = audit(tmp_path / "updates", keep=("clipped",))
    assert verdict(updates, people.CLIP) == "holds"
    assert verdict(updates, noise.SCALE) == "not shown"
    assert verdict(updates, ANY) == "not shown"
    tree = foreign.tree_of()
    tree["rounds"] = [{"round": 1}]
    (tmp_path / "federated-run.json").write_text(json.dumps(tree))
    claim = audited(read(tmp_path))
    assert {each.name for each in claim if each.verdict == "holds"} == {record.EPSILON}
    assert not [each for each in claim if each.verdict == "violated"]


def test_fewer_rounds_than_claimed_are_counted_as_claimed(tmp_path):
    some = audit(tmp_path, released_rounds=2)
    assert verdict(some, record.LEDGER) == "not shown"
    assert verdict(some, record.EPSILON) == "holds"
    found = audit(tmp_path, released_rounds=2, claim__epsilon=4.0)
    assert verdict(found, record.EPSILON) == "violated"


def test_without_a_claim_the_cost_is_told(tmp_path):
    found = audit(tmp_path, claim__epsilon=None)
    (told,) = [each for each in found if each.name == record.EPSILON]
    assert told.verdict == "not shown"
    assert 4 < told.figures["recomputed"] < 5
    assert verdict(found, ANY) == "not shown"


def test_fixed_cohorts_cost_what_some_accountant_says_at_most(tmp_path):
    """Below that nothing is shown either way: no bound of ours is tight there."""
    claimed = {"claim__sampling": FIXED, "claim__relation": "replace_one"}
    for epsilon, expected in ((30.0, "holds"), (8.0, "holds"), (1.0, "not shown")):
        found = audit(tmp_path, claim__epsilon=epsilon, **claimed)
        assert verdict(found, record.EPSILON) == expected, epsilon
    assert verdict(found, people.SAMPLING) == "holds"


def test_the_cost_is_that_of_the_closed_form():
    """Four rounds at multiplier 2 are one at 1; replacing one is twice as far."""
    from dp_accounting import get_epsilon_gaussian

    assert math.isclose(get_epsilon_gaussian(1.0, 1e-5), 4.377178, rel_tol=1e-6)


def test_files_are_named_with_their_digests(tmp_path):
    foreign.write(tmp_path)
    digests = read(tmp_path).digests
    assert {*digests} == {each.name for each in tmp_path.iterdir()}
    assert {len(each) for each in digests.values()} == {64}


@pytest.mark.slow
@pytest.mark.parametrize("settings", RIGHT.values(), ids=RIGHT)
def test_nothing_is_said_of_right_runs_in_fifteen_seeds(tmp_path, settings):
    found = [cause(audit(tmp_path, seed=seed, **settings)) for seed in range(1, 16)]
    assert found == [None] * 15


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "name"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_named_in_nine_of_ten_seeds(tmp_path, settings, name):
    found = [cause(audit(tmp_path, seed=seed, **settings)) for seed in range(1, 11)]
    assert found.count(name) >= 9, found
