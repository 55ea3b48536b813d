"""`starling verify` of points with correlated noise: honest, altered, a row that served twice."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.privacy.ledger.ledger import Ledger
from simulations.verify.run import verify_run
from tests.support.privacy.attacks import Attack, claim, said, without
from tests.support.privacy.ledgers import (
    DP_FTRL,
    EXPERIMENT,
    ended,
    first_ledger,
    load,
    save,
    write_promised_run,
)


@pytest.fixture
def ftrl(tmp_path: Path, home: Path) -> Path:
    """Epsilon 2 with correlated noise, and none."""
    return write_promised_run(tmp_path, DP_FTRL)


def test_an_honest_run_agrees(ftrl: Path) -> None:
    report = verify_run(ftrl)
    assert report.ok, (report.problems, [row.reason for row in report.rows])
    assert [row.promise for row in report.rows] == ["user, central", "not private"]
    point = load(ftrl)["points"][0]
    assert point["correlation"] == {
        "bands": 2,
        "min_separation": 2,
        "max_participations": 2,
        # Two whole columns of 1 and r_1 + beta = 0.5 + 0.45: fedadam is taken as prefix sums.
        "sensitivity": pytest.approx((2 * 1.25) ** 0.5),
    }
    assert point["sampling_probability"] == 1
    assert "who took part in which round" in point["adversary"]


def correlated(**changes: Any) -> Attack:
    def attack(run: Path) -> None:
        results = load(run)
        results["points"][0]["correlation"].update(changes)
        save(run, results)

    return attack


def released(kind: str, **changes: Any) -> Attack:
    def attack(run: Path) -> None:
        results = load(run)
        results["points"][0]["releases"][kind].update(changes)
        save(run, results)

    return attack


def settings(**changes: Any) -> Attack:
    def attack(run: Path) -> None:
        results = load(run)
        results["config"]["privacy"].update(changes)
        save(run, results)

    return attack


def rewritten(order: Callable[[Sequence[Any]], Sequence[Any]]) -> Attack:
    """Other entries in the ledger, signed by the operator, who states as many rounds."""

    def attack(run: Path) -> None:
        results, path = load(run), first_ledger(run)
        old = Ledger.open(path)
        path.unlink()
        new = Ledger.create(path, old.header)
        for entry in order(old.entries):
            new.append(entry.round, entry.release, entry.event)
        rounds = {entry.round for entry in new.entries if entry.release == "update"}
        results["points"][0].update(ended(new), rounds=len(rounds))
        save(run, results)

    return attack


# The ledger's entries: training, histogram, updates 1 to 4.
ATTACKS: dict[str, tuple[Attack, str]] = {
    "bands": (correlated(bands=1), "'bands': 1"),
    "separation": (correlated(min_separation=4), "'min_separation': 4"),
    "participations": (correlated(max_participations=1), "'max_participations': 1"),
    "sensitivity": (correlated(sensitivity=1.0), "'sensitivity': 1.0"),
    "one thing more": (correlated(amplified=True), "correlation = "),
    "correlation removed": (without("correlation"), "correlation = None claimed"),
    "correlation: nothing": (claim(correlation={}), "correlation = {} claimed"),
    "noise": (claim(noise_multiplier=99.0), "training: claimed"),
    "amplified": (claim(sampling_probability=0.1), "sampling_probability = 0.1 claimed"),
    "training costs nothing": (released("training", event={"kind": "no_op"}), "training: claimed"),
    "training twice": (released("training", times=2), "the settings give"),
    "update costs": (released("update", event={"kind": "non_private"}), "update: claimed"),
    "settings: independent noise": (settings(mechanism="gaussian", min_separation=1), "policy"),
    "settings: separation": (settings(min_separation=4), "the settings give {'bands': 4"),
    "a row twice": (rewritten(lambda e: [*e, e[-1]]), "used twice, or out of order"),
    "going back": (rewritten(lambda e: [*e[:3], e[4], e[3], e[5]]), "used twice, or out of order"),
    "training late": (rewritten(lambda e: [*e[1:3], e[0], *e[3:]]), "before the training was"),
    "training removed": (rewritten(lambda e: e[1:]), "the ledger shows no training"),
}


@pytest.mark.parametrize(("attack", "word"), ATTACKS.values(), ids=list(ATTACKS))
def test_finds_every_alteration(ftrl: Path, attack: Attack, word: str) -> None:
    attack(ftrl)
    assert word in said(ftrl)


def test_a_run_with_independent_noise_may_not_claim_correlated(tmp_path: Path, home: Path) -> None:
    run = write_promised_run(tmp_path, EXPERIMENT)
    assert verify_run(run).ok
    claim(correlation={"bands": 2})(run)
    assert "the settings give None" in said(run)
