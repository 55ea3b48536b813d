"""`starling verify` finds every alteration of a run, and says which."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulations.verify.run import verify_run
from tests.support.privacy.ledgers import first_ledger, load, rewrite, save, write_run

# Every alteration below must be found, although its operator sealed it; the pattern is what the
# report says. What others alter shows against the seal: `test_forgeries.py`.


def edit_lines(edit: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def attack(run: Path) -> None:
        path = first_ledger(run)
        before = path.read_bytes()
        path.write_bytes(b"".join(edit(before.splitlines(keepends=True))))
        assert path.read_bytes() != before

    return attack


def claim(**changes: Any) -> Callable[[Path], None]:
    def attack(run: Path) -> None:
        results = load(run)
        results["points"][0].update(changes)
        save(run, results)

    return attack


def without(name: str) -> Callable[[Path], None]:
    def attack(run: Path) -> None:
        results = load(run)
        del results["points"][0][name]
        save(run, results)

    return attack


def end_says(**changes: Any) -> Callable[[Path], None]:
    def attack(run: Path) -> None:
        results = load(run)
        results["points"][0]["ledger"].update(changes)
        save(run, results)

    return attack


def rewrite_the_ledger(run: Path) -> None:
    rewrite(run, None)


def claim_less_everywhere(run: Path) -> None:
    claim(epsilon=1.0, epsilon_target=1.0)(run)


def unclaimed(run: Path) -> None:
    shutil.copy(first_ledger(run), run / "ledger-secret.jsonl")


def shared_between_points(run: Path) -> None:
    results = load(run)
    results["points"][2]["ledger"] = results["points"][0]["ledger"]
    save(run, results)


def copied_for_another_point(run: Path) -> None:
    results = load(run)
    shutil.copy(first_ledger(run), run / results["points"][2]["ledger"]["file"])
    save(run, results)


def point_dropped(run: Path) -> None:
    results = load(run)
    del results["points"][0]
    save(run, results)


def ledger_deleted(run: Path) -> None:
    first_ledger(run).unlink()


def settings_changed(run: Path) -> None:
    results = load(run)
    results["config"]["privacy"]["clipping_norm"] = 0.1
    save(run, results)


def settings_dropped(run: Path) -> None:
    results = load(run)
    del results["config"]
    save(run, results)


def no_points(run: Path) -> None:
    save(run, {**load(run), "points": []})


def results_say(**changes: Any) -> Callable[[Path], None]:
    def attack(run: Path) -> None:
        save(run, {**load(run), **changes})

    return attack


def plan_says(**changes: Any) -> Callable[[Path], None]:
    def attack(run: Path) -> None:
        results = load(run)
        results["config"]["sweep"].update(changes)
        save(run, results)

    return attack


def point_and_ledger_dropped(run: Path) -> None:
    first_ledger(run).unlink()
    point_dropped(run)


def point_repeated(run: Path) -> None:
    results = load(run)
    results["points"].append(results["points"][0])
    save(run, results)


def completion_not_stated(run: Path) -> None:
    results = load(run)
    del results["complete"]
    save(run, results)


def fewer_users_in_smaller_cohorts(run: Path) -> None:
    claim(cohort=50.0)(run)
    results_say(data={"users": 500})(run)


ATTACKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "line removed": (edit_lines(lambda lines: lines[:2] + lines[3:]), "line 3"),
    "lines reordered": (edit_lines(lambda x: [*x[:2], x[3], x[2], *x[4:]]), "line 3"),
    "line edited": (
        edit_lines(lambda x: [x[0], x[1].replace(b'"round":0', b'"round":7'), *x[2:]]),
        "line 2",
    ),
    "line repeated": (edit_lines(lambda lines: [*lines, lines[-1]]), "line 7"),
    "tail cut": (edit_lines(lambda lines: lines[:-1]), "cut, extended or rewritten"),
    "tail cut in a line": (
        edit_lines(lambda lines: [*lines[:-1], lines[-1][:-9]]),
        "line 6 was cut off",
    ),
    "header only": (edit_lines(lambda lines: lines[:1]), "cut, extended or rewritten"),
    "emptied": (edit_lines(lambda lines: []), "header is missing"),
    "rewritten": (rewrite_the_ledger, "cut, extended or rewritten"),
    "deleted": (ledger_deleted, "cannot be read"),
    "unclaimed ledger": (unclaimed, "ledger-secret.jsonl: no point"),
    "ledger of two points": (shared_between_points, "claimed 2 times"),
    "ledger copied": (copied_for_another_point, "cut, extended or rewritten"),
    "point dropped": (point_dropped, "no point of results.json claims it"),
    "no points": (no_points, "no points"),
    "end: entries": (end_says(entries=4), "cut, extended or rewritten"),
    "end: head": (end_says(head="0" * 64), "cut, extended or rewritten"),
    "end: path": (end_says(file="../ledger-x.jsonl"), "not a name like"),
    "no end": (without("ledger"), "no ledger"),
    "epsilon smaller": (claim(epsilon=1.9), "epsilon = 1.9 claimed"),
    "epsilon larger": (claim(epsilon=2.1), "epsilon = 2.1 claimed"),
    "epsilon text": (claim(epsilon="low"), "epsilon = nan claimed"),
    "epsilon huge": (claim(epsilon=10**400), "epsilon = nan claimed"),
    "epsilon missing": (without("epsilon"), "epsilon = nan claimed"),
    "epsilon and target": (claim_less_everywhere, "epsilon_target = 1.0 claimed"),
    "epsilon by RDP": (claim(epsilon_rdp=1.0), "epsilon_rdp = 1.0 claimed"),
    "epsilon by PRV": (claim(epsilon_prv=1.0), "epsilon_prv = 1.0 claimed"),
    "delta": (claim(delta=1e-3), "delta = 0.001 claimed"),
    "delta missing": (without("delta"), "delta = nan claimed"),
    "unit": (claim(unit="example"), "unit = 'example' claimed"),
    "relation": (claim(relation="replace_one"), "relation = 'replace_one' claimed"),
    "trust": (claim(trust="local"), "trust = 'local' claimed"),
    "adversary": (claim(adversary="no one"), "adversary = 'no one' claimed"),
    "adversary missing": (without("adversary"), "adversary = None claimed"),
    "noise": (claim(noise_multiplier=3.0), "update: claimed"),
    "histogram noise": (claim(histogram_noise_multiplier=9.0), "histogram: claimed"),
    "histogram hidden": (
        claim(histogram_noise_multiplier=None),
        "an event is claimed, and",
    ),
    "releases missing": (without("releases"), "expected an object of objects"),
    "releases hidden": (claim(releases={}), "shows a histogram release that the point does not"),
    "releases odd": (claim(releases={"update": 1}), "expected an object of objects"),
    "release invented": (
        claim(releases={"metrics": {"event": {}, "times": 1}}),
        "the ledger shows no metrics",
    ),
    "more often than planned": (
        claim(releases={"update": {"event": {}, "times": 1}}),
        "update: claimed 1 times at most",
    ),
    "sampling": (claim(sampling_probability=0.01), "update: claimed"),
    "rounds": (claim(rounds=5), "rounds = 5 claimed"),
    "seed": (claim(seed=9), "policy"),
    "settings changed": (settings_changed, "policy"),
    "clipping": (claim(clipping_norm=0.1), "clipping_norm = 0.1 claimed, the settings give 0.5"),
    "clipping missing": (without("clipping_norm"), "clipping_norm = nan claimed"),
    "cohort": (claim(cohort=101.0), "cohort = 101 claimed, the settings give 100"),
    "cohort missing": (without("cohort"), "cohort = nan claimed"),
    "users": (results_say(data={"users": 2000}), "sampling_probability = 0.1 claimed"),
    "users and cohort": (fewer_users_in_smaller_cohorts, "cohort = 50 claimed"),
    "too few users": (results_say(data={"users": 50}), "there are 50 users"),
    "users text": (results_say(data={"users": "many"}), "users = 'many': expected"),
    "users huge": (results_say(data={"users": 10**400}), "expected a whole number"),
    "users missing": (results_say(data=None), "users = None: expected"),
    "point and ledger dropped": (
        point_and_ledger_dropped,
        "epsilon 2, seed 0: planned, but missing from a run that is called complete",
    ),
    "point repeated": (point_repeated, "epsilon 2, seed 0: stated 2 times"),
    "point not planned": (plan_says(seeds=[0]), "epsilon 2, seed 1: not in the settings' sweep"),
    "point of a seed in words": (claim(seed="0"), "seed '0': not in the settings' sweep"),
    "completion not stated": (completion_not_stated, "complete = None: expected true or false"),
    "completion in words": (results_say(complete="no"), "complete = 'no': expected true or false"),
    "epsilon in a summary": (
        results_say(summary=[{"epsilon_target": 1.0}]),
        "'summary[].epsilon_target': no field of a run's",
    ),
    "epsilon elsewhere": (
        results_say(references={"best": [{"epsilon": 0.1}]}),
        "'references.best[].epsilon': no field of a run's",
    ),
    "epsilon on top": (results_say(epsilon_total=0.1), "'epsilon_total': no field of a run's"),
    "settings dropped": (settings_dropped, "does not give this point's settings"),
}


@pytest.mark.parametrize(("attack", "word"), ATTACKS.values(), ids=list(ATTACKS))
def test_finds_every_alteration(run: Path, attack: Callable[[Path], None], word: str) -> None:
    attack(run)
    report = verify_run(run)
    said = "\n".join([*report.problems, *(row.reason for row in report.rows)])
    assert not report.ok
    assert word in said
    for line in said.splitlines():
        assert line.isprintable()


def test_refuses_a_delta_above_one_over_the_users(tmp_path: Path, home: Path) -> None:
    """Claim and ledger agree on it; publishing one person outright would satisfy it."""
    report = verify_run(write_run(tmp_path, delta=0.0011))
    assert not report.ok
    for row in report.rows:
        own, *noise, carried = row.reasons
        assert all("noise_multiplier = " in reason for reason in noise)  # of another split
        assert own == "delta = 0.0011 claimed, the settings give 0.0001"
        assert "promise.guarantees[0].delta = '0.0011'" in carried


def test_refuses_settings_with_a_delta_above_one_over_the_users(run: Path) -> None:
    results = load(run)
    results["config"]["privacy"]["delta"] = 0.0011
    save(run, results)
    assert (
        "privacy.delta (--delta) = 0.0011: expected below 1/1000" in verify_run(run).rows[0].reason
    )
