"""`starling verify` finds every alteration of a run, and says which."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from simulations.verify import verify_run
from tests.support.ledgers import first_ledger, load, rewrite, save

# Every alteration below must be found; the pattern is what the report says.


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


def seal_says(**changes: Any) -> Callable[[Path], None]:
    def attack(run: Path) -> None:
        results = load(run)
        results["points"][0]["ledger"].update(changes)
        save(run, results)

    return attack


def rewrite_keeping_the_seal(run: Path) -> None:
    rewrite(run, None)


def rewrite_with_a_fresh_key(run: Path) -> None:
    rewrite(run, Ed25519PrivateKey.generate())


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
    "rewritten": (rewrite_keeping_the_seal, "cut, extended or rewritten"),
    "rewritten and sealed anew": (rewrite_with_a_fresh_key, "not by the trusted key"),
    "deleted": (ledger_deleted, "cannot be read"),
    "unclaimed ledger": (unclaimed, "ledger-secret.jsonl: no point"),
    "ledger of two points": (shared_between_points, "claimed by 2 points"),
    "ledger copied": (copied_for_another_point, "cut, extended or rewritten"),
    "point dropped": (point_dropped, "no point of results.json claims it"),
    "no points": (no_points, "no points"),
    "seal: entries": (seal_says(entries=4), "cut, extended or rewritten"),
    "seal: head": (seal_says(head="0" * 64), "cut, extended or rewritten"),
    "seal: signature": (seal_says(signature="00" * 64), "signature is not valid"),
    "seal: no signature": (seal_says(signature=None), "signature is not valid"),
    "seal: key": (seal_says(public_key="00" * 32), "not by the trusted key"),
    "seal: path": (seal_says(file="../ledger-x.jsonl"), "not a name like"),
    "no seal": (without("ledger"), "no ledger"),
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
    "noise": (claim(noise_multiplier=3.0), "update: claimed"),
    "histogram noise": (claim(histogram_noise_multiplier=9.0), "histogram: claimed"),
    "histogram hidden": (claim(histogram_noise_multiplier=None), "does not state"),
    "sampling": (claim(sampling_probability=0.01), "update: claimed"),
    "rounds": (claim(rounds=5), "rounds = 5 claimed"),
    "seed": (claim(seed=9), "policy"),
    "settings changed": (settings_changed, "policy"),
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
