"""`starling verify` of points with any unit and trust: honest, altered, interrupted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from simulations.commands.verify import verify
from simulations.verify.run import verify_run
from tests.support.privacy.attacks import Attack, claim, device, interrupt, said, without
from tests.support.privacy.ledgers import (
    BOTH,
    EXPERIMENT,
    LOCAL,
    load,
    save,
    write_promised_run,
)

EXAMPLE_CENTRAL = replace(
    LOCAL,
    privacy=replace(LOCAL.privacy, trust="central", max_participations=None),
    train=BOTH.train,
)


def device_removed(run: Path) -> None:
    device(run, 10).unlink()


def one_guarantee_only(run: Path) -> None:
    """The example-level one, as if it were all."""
    results = load(run)
    inner = results["points"][0]["example"]
    names = ("rounds", "cohort", "seed", "metrics")
    results["points"][0] = {name: results["points"][0][name] for name in names} | inner
    save(run, results)


def same_ledger_twice(run: Path) -> None:
    results = load(run)
    results["points"][0]["example"]["ledger"] = results["points"][0]["ledger"]
    save(run, results)


def exchanged(run: Path) -> None:
    results = load(run)
    outer, inner = results["points"][0], results["points"][0].pop("example")
    results["points"][0] = outer | inner | {"example": {name: outer[name] for name in inner}}
    save(run, results)


ATTACKS_ON_BOTH: dict[str, tuple[Attack, str]] = {
    "example removed": (without("example"), "a guarantee that the settings give is not stated"),
    "example removed, its ledgers": (without("example"), "devices/eps-2-seed-0: no point of"),
    "user-level removed": (one_guarantee_only, "a guarantee that the settings give is not stated"),
    "exchanged": (exchanged, "unit = 'example' claimed, the settings give 'user'"),
    "example: nothing": (claim(example=None), "no ledger"),
    "example: epsilon": (claim("example", epsilon=0.5), "epsilon = 0.5 claimed"),
    "example: no epsilon": (without("epsilon", "example"), "epsilon = nan claimed"),
    "example: target": (claim("example", epsilon_target=2.0), "target = 2 claimed, the settings"),
    "example: unit": (claim("example", unit="user"), "unit = 'user' claimed, the settings give"),
    "example: trust": (claim("example", trust="central"), "trust = 'central' claimed, the sett"),
    "example: delta": (claim("example", delta=1e-3), "delta = 0.001 claimed, the settings give"),
    "example: rounds": (claim("example", rounds=99), "rounds = 99 claimed, the settings give 4"),
    "example: another epsilon": (
        claim("example", epsilon_user=1.0),
        "'points[].example.epsilon_user': no field",
    ),
    "epsilon": (claim(epsilon=0.5), "epsilon = 0.5 claimed"),
    "unit": (claim(unit="example"), "unit = 'example' claimed, the settings give 'user'"),
    "one ledger for both": (same_ledger_twice, "ledger-eps-2-seed-0.jsonl: claimed 2 times"),
    "device removed": (device_removed, "cut, extended or rewritten"),
}


@pytest.mark.parametrize(("attack", "word"), ATTACKS_ON_BOTH.values(), ids=list(ATTACKS_ON_BOTH))
def test_finds_every_alteration_of_a_point_with_two_guarantees(
    both: Path, attack: Attack, word: str
) -> None:
    attack(both)
    assert word in said(both)


@pytest.mark.parametrize(
    ("experiment", "promises"),
    [
        (EXPERIMENT, ["user, central", "not private"]),
        (LOCAL, ["example, local", "not private"]),
        (EXAMPLE_CENTRAL, ["example, central", "not private"]),
        (BOTH, ["user, central", "example, local", "not private"]),
    ],
    ids=["user", "local", "example central", "both"],
)
def test_agrees_with_honest_runs_and_names_the_unit_of_each_figure(
    tmp_path: Path, home: Path, experiment: Any, promises: list[str]
) -> None:
    report = verify_run(write_promised_run(tmp_path, experiment))
    assert report.ok, (report.problems, [row.reason for row in report.rows])
    assert [row.promise for row in report.rows] == promises


def test_the_command_tells_the_units_apart(both: Path) -> None:
    app = typer.Typer()
    app.command()(verify)
    result = CliRunner().invoke(app, [str(both)], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    of_user = "point epsilon 2, seed 0; unit, trust user, central; delta 0.0001; claimed 2; "
    of_example = "point epsilon 2, seed 0, per example; unit, trust example, local; "
    for start in (of_user, of_example):
        assert sum(line.startswith(start) for line in lines) == 1, start


def test_what_costs_nothing_of_many_windows_is_no_problem(tmp_path: Path, home: Path) -> None:
    """Without a budget delta is by users; 20 windows each would make it too large for examples."""
    many = replace(LOCAL, train=replace(LOCAL.train, max_windows=200))
    report = verify_run(write_promised_run(tmp_path, many))
    assert report.ok, [row.reason for row in report.rows]


def test_both_ledgers_of_an_interrupted_point_are_in_progress(both: Path) -> None:
    report = verify_run(interrupt(both))
    assert report.ok, report.problems
    names = [line.split(":")[0] for line in report.in_progress]
    assert names == [
        "devices/eps-2-seed-0",
        "ledger-eps-2-seed-0.jsonl",
        "ledger-eps-inf-seed-0.jsonl",
    ]


# Whatever a claim holds, the answer is a report.

NASTY = (None, True, 10**400, float("nan"), "", [], {})


@pytest.mark.parametrize(
    "each", [pytest.param(1, marks=pytest.mark.slow, id="all"), pytest.param(len(NASTY), id="one")]
)
def test_no_value_of_a_claim_ends_in_a_traceback_or_is_believed(both: Path, each: int) -> None:
    """Of every field one value in turn, or all of them."""
    honest = load(both)
    for inner in (False, True):
        point = honest["points"][0]
        for place, name in enumerate(point["example"] if inner else point):
            for value in NASTY[place % each :: each]:
                claimed = {**point, "example": {**point["example"]}}
                (claimed["example"] if inner else claimed)[name] = value
                if claimed == point or name == "metrics":
                    continue
                results = {**honest, "points": [claimed, honest["points"][1]]}
                (both / "results.json").write_text(json.dumps(results))
                assert not verify_run(both).ok, (inner, name, value)
