"""The privacy officer's calculator, and the same question of a finished run."""

import json
import math
import re
import subprocess
import sys

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent

from shared.privacy.accounting.accountant import epsilon
from tests.support import ROOT
from tests.support.absent import hiding
from tests.support.command import command

PLAN = ("--noise", 1.5, "--rounds", 40, "--sampling", 0.1)


def asked(*words):
    done = command("account", *words, "--json", "--no-prv")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_it_says_what_the_accountants_say():
    found = asked(*PLAN, "--users", 999, "--deltas", "1e-6,1e-3", "--took-part", "0,3")
    history = [(PoissonSampledDpEvent(0.1, GaussianDpEvent(1.5)), 40)]
    assert [row["delta"] for row in found["epsilons"]] == [1e-3, 1e-4, 1e-6]
    for row in found["epsilons"]:
        assert row["pld"] == epsilon(history, row["delta"])
        assert row["pld"] < row["rdp"] < row["in_every_round"]
        assert row["in_every_round"] == epsilon([(GaussianDpEvent(1.5), 40)], row["delta"])
    nothing, three = found["individuals"]
    assert nothing["epsilon"] == 0
    assert three["epsilon"] == epsilon([(GaussianDpEvent(1.5), 3)], 1e-4)
    assert found["solved"] == "epsilon"


@pytest.mark.parametrize("free", ["noise", "rounds", "sampling"])
def test_it_finds_what_is_left_out(free):
    target = asked(*PLAN, "--delta", 1e-5)["epsilons"][0]["pld"] * (1 + 1e-9)
    place = PLAN.index(f"--{free}")
    rest = PLAN[:place] + PLAN[place + 2 :]
    found = asked("--epsilon", target, *rest, "--delta", 1e-5)
    names = {"noise": "noise_multiplier", "sampling": "sampling_probability"}
    assert found["solved"] == free
    assert found[names.get(free, free)] == pytest.approx(PLAN[place + 1], rel=1e-4)
    assert found["epsilons"][0]["pld"] <= target


def test_people_read_a_table():
    plan = ("--epsilon", 8, "--rounds", 40, "--sampling", 0.1, "--users", 943)
    done = command("account", *plan, "--prv")
    assert done.code == 0, done.err
    for word in ("noise multiplier", "PRV", "seen in every round", "most often", "never learn"):
        assert word in done.out
    (row,) = (line for line in done.out.splitlines() if line.startswith("delta 0.0001; "))
    _, pld, rdp, prv, seen = (float(cell.rpartition(" ")[2]) for cell in row.split("; "))
    assert math.isclose(pld, 8, rel_tol=1e-3)
    assert abs(pld - prv) < 0.03
    assert pld < rdp < seen


@pytest.mark.parametrize("free", ["epsilon", "noise", "rounds", "sampling"])
def test_what_was_found_can_be_typed_and_keeps_the_target(free):
    """The figure that was left out is named with its value, rounded to the safe side."""
    plan = {"epsilon": 2.1, "noise": 1.5, "rounds": 40, "sampling": 0.1}
    del plan[free]
    words = [word for name, value in plan.items() for word in (f"--{name}", value)]
    done = command("account", *words, "--delta", 1e-5)
    found = re.search(rf"^Found: --{free} (\S+), at delta 1e-05\.$", done.out, re.MULTILINE)
    assert found, done.out
    again = {"epsilon": 2.1, **plan, free: found[1]}
    epsilon = again.pop("epsilon")
    words = [word for name, value in again.items() for word in (f"--{name}", value)]
    spent = asked(*words, "--delta", 1e-5)["epsilons"][0]["pld"]
    assert 0.99 * float(epsilon) < spent <= float(epsilon)


def test_a_group_costs_more_than_one():
    one, two = (asked(*PLAN, "--users", 1000, "--group", k)["epsilons"][0] for k in (1, 2))
    assert one["pld"] < two["pld"]
    assert two["rdp"] is None


def test_a_run_is_shown_at_other_deltas(run):
    done = command("verify", run, "--deltas", "1e-2,1e-5")
    assert done.code == 0, done.err
    rows = [line for line in done.out.splitlines() if "epsilon 2, seed 0" in line][1:]
    spent = [float(line.rpartition("epsilon ")[2]) for line in rows]
    assert len(spent) == 2
    assert spent[0] < 2.0 < spent[1]  # delta is 1e-3 for 40 people: the first is above it
    assert "of a device" not in done.out  # no device keeps a ledger


@pytest.mark.parametrize("users", [0, -3])
@pytest.mark.parametrize("more", [(), ("--delta", 1e-5)])
def test_nobody_is_refused(users, more):
    done = command("account", *PLAN, "--no-prv", "--users", users, *more)
    assert (done.code, f"users (--users) = {users}: expected at least 1" in done.error) == (
        2,
        True,
    ), done.err


def test_a_delta_that_allows_to_publish_someone_is_refused_or_named():
    done = command("account", *PLAN, "--users", 100, "--delta", 0.02)
    assert (done.code, "expected below 1/100" in done.error) == (2, True), done.err
    done = command("account", *PLAN, "--users", 100, "--deltas", 0.5)
    assert (done.code, "delta = 0.5 with --users 100" in done.error) == (2, True), done.err
    done = command("account", *PLAN, "--no-prv", "--delta", 0.02)
    assert (done.code, "allows to publish one unit of 50 outright" in done.out) == (0, True), (
        done.err
    )
    assert "outright" not in command("account", *PLAN, "--no-prv", "--delta", 1e-5).out


def test_it_answers_where_torch_and_flower_are_missing():
    words = ["account", *map(str, PLAN), "--users", "1000", "--no-prv", "--json"]
    code = hiding(["torch", "flwr", "opacus"]) + f"import starling\nstarling.main({words})\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == asked(*PLAN, "--users", 1000)
