"""`starling verify`: agrees with an honest run and with nothing else."""

import json
import math
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from shared.config import ExperimentConfig, FederationConfig, PrivacyConfig, to_dict
from shared.errors import ConfigError, DataError
from shared.privacy.accountant import calibrate
from shared.privacy.clipping import L2Clip
from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.ledger import Ledger, LedgerHeader, seal
from shared.privacy.mechanism import GaussianMechanism
from shared.privacy.policy import policy_hash
from simulations import verify as verify_module
from simulations.verify import verify_run
from simulations.verify_command import verify

DELTA, ROUNDS, Q = 1e-4, 4, 0.1
EXPERIMENT = ExperimentConfig(
    federation=FederationConfig(rounds=ROUNDS), privacy=PrivacyConfig(histogram_share=0.2)
)
Results = dict[str, Any]


def write_point(folder: Path, target: float, seed: int, key: Ed25519PrivateKey) -> Results:
    """What a run leaves for one point, by the same calls that a run makes."""
    found = calibrate(target, DELTA, ROUNDS, Q, histogram_share=0.2)
    noise, histogram_noise = found.noise_multiplier, found.histogram_noise_multiplier or 0.0
    header = LedgerHeader(
        unit="user",
        relation="add_remove",
        trust="central",
        adversary="sees every released adapter",
        delta=DELTA,
        policy=policy_hash(EXPERIMENT.at_epsilon(target, seed)),
        budget=target,
    )
    ledger = Ledger.create(folder / f"ledger-eps-{target:g}-seed-{seed}.jsonl", header)
    ledger.append(0, "histogram", GaussianMechanism(histogram_noise, L2Clip(1.0)).event(1.0))
    for number in range(1, ROUNDS + 1):
        ledger.append(number, "update", GaussianMechanism(noise, L2Clip(0.5)).event(Q))
    return {
        "epsilon_target": target,
        "epsilon": ledger.epsilon(),
        "delta": DELTA,
        "unit": "user",
        "relation": "add_remove",
        "trust": "central",
        "adversary": "sees every released adapter",
        "noise_multiplier": noise,
        "histogram_noise_multiplier": found.histogram_noise_multiplier,
        "rounds": ROUNDS,
        "sampling_probability": Q,
        "seed": seed,
        "ledger": seal(ledger, key),
    }


def finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return "inf" if value == math.inf else value


def save(folder: Path, results: Results) -> None:
    (folder / "results.json").write_text(json.dumps(finite(results), allow_nan=False))


def load(folder: Path) -> Results:
    results: Results = json.loads((folder / "results.json").read_text())
    return results


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("STARLING_HOME", str(folder))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    key = load_or_create_signing_key()
    points = [
        write_point(tmp_path, target, seed, key) for seed in (0, 1) for target in (2.0, math.inf)
    ]
    save(tmp_path, {"schema": 1, "config": to_dict(EXPERIMENT), "points": points})
    return tmp_path


def first_ledger(run: Path) -> Path:
    return run / str(load(run)["points"][0]["ledger"]["file"])


def test_agrees_with_an_honest_run(run: Path) -> None:
    report = verify_run(run)
    assert report.ok, (report.problems, [row.reason for row in report.rows])
    row = report.rows[0]
    assert row.claimed == row.epsilon == pytest.approx(2.0, rel=1e-4)
    assert row.epsilon_rdp is not None
    assert row.epsilon_rdp > row.epsilon
    assert row.epsilon_prv == pytest.approx(row.epsilon, abs=0.03)
    assert report.rows[1].epsilon == math.inf
    assert public_hex(load_or_create_signing_key()) in report.signer


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


def rewrite(run: Path, key: Ed25519PrivateKey | None) -> None:
    """A whole new ledger with twice the noise; its own seal in results.json if there is a key."""
    results = load(run)
    point, path = results["points"][0], first_ledger(run)
    old = Ledger.open(path)
    path.unlink()
    new = Ledger.create(path, replace(old.header, budget=2.0))
    z = 2 * point["noise_multiplier"]
    for entry in old.entries:
        event = GaussianMechanism(z, L2Clip(1.0)).event(Q) if entry.round else entry.event
        new.append(entry.round, entry.release, event)
    if key is not None:
        claims = {"noise_multiplier": z, "epsilon": new.epsilon(), "ledger": seal(new, key)}
        point.update(claims)
        save(run, results)


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


def test_a_ledger_without_noise_cannot_claim_a_finite_epsilon(run: Path) -> None:
    results = load(run)
    results["points"][1].update(epsilon=2.0, epsilon_target=2.0)
    save(run, results)
    assert "inf spent by the ledger" in verify_run(run).rows[1].reason


def test_another_operators_run(run: Path, home: Path) -> None:
    key = public_hex(load_or_create_signing_key())
    (home / "keys" / "ledger.pem").unlink()
    unknown = verify_run(run)
    assert unknown.ok
    assert "not vouched for" in unknown.signer
    assert verify_run(run, key).ok
    load_or_create_signing_key()
    assert not verify_run(run).ok
    assert verify_run(run, key).ok


def test_without_a_key_a_full_rewrite_passes_and_the_report_says_why(run: Path, home: Path) -> None:
    rewrite_with_a_fresh_key(run)
    (home / "keys" / "ledger.pem").unlink()
    report = verify_run(run)
    assert report.ok
    assert "could have rewritten everything" in report.signer


def test_disagreeing_accountants_are_reported(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "epsilon_rdp", lambda *_: 1.0)
    monkeypatch.setattr(verify_module, "epsilon_prv", lambda *_: 1.0)
    reason = verify_run(run).rows[0].reason
    assert "exceeds RDP" in reason
    assert "PRV 1" in reason


# A crash makes the ledger over-count: the same round twice is one round that cost twice.


def test_a_repeated_round_counts_twice(tmp_path: Path) -> None:
    key = load_or_create_signing_key()
    found = calibrate(2.0, DELTA, ROUNDS + 1, Q)
    config = replace(EXPERIMENT, privacy=PrivacyConfig())
    header = LedgerHeader(
        unit="user",
        relation="add_remove",
        trust="central",
        adversary="sees every released adapter",
        delta=DELTA,
        policy=policy_hash(config.at_epsilon(2.0, 0)),
        budget=2.0,
    )
    ledger = Ledger.create(tmp_path / "ledger-a.jsonl", header)
    for number in (1, 2, 2, 3, 4):
        event = GaussianMechanism(found.noise_multiplier, L2Clip(1.0)).event(Q)
        ledger.append(number, "update", event)
    point = {
        "epsilon_target": 2.0, "epsilon": ledger.epsilon(), "delta": DELTA, "unit": "user",
        "relation": "add_remove", "trust": "central", "rounds": ROUNDS, "seed": 0,
        "noise_multiplier": found.noise_multiplier, "histogram_noise_multiplier": None,
        "sampling_probability": Q, "ledger": seal(ledger, key),
    }  # fmt: skip
    save(tmp_path, {"schema": 1, "config": to_dict(config), "points": [point]})
    report = verify_run(tmp_path)
    assert report.ok, report.rows[0].reason
    assert report.rows[0].epsilon == pytest.approx(2.0, rel=1e-4)


# Bad input is not a violation.


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "cannot be read"),
        ("{", "not a JSON file"),
        ("\udcff", "not a JSON file"),
        ("[]", "schema 1"),
        ('{"schema": 2, "points": []}', "schema 1"),
        ('{"schema": 1}', "points"),
        ('{"schema": 1, "points": [1]}', "points"),
        ('{"schema": 1, "points": [], "points": []}', "'points' is given twice"),
    ],
)
def test_bad_input(tmp_path: Path, content: str | None, word: str) -> None:
    if content is not None:
        (tmp_path / "results.json").write_bytes(os.fsencode(content))
    with pytest.raises(DataError, match=word) as caught:
        verify_run(tmp_path)
    assert caught.value.exit_code == 2


def test_a_malformed_key(run: Path) -> None:
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        verify_run(run, "abc")


# The command.


def invoke(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(verify)
    return CliRunner().invoke(app, list(arguments))


def test_the_command_agrees(run: Path) -> None:
    result = invoke(str(run))
    assert result.exit_code == 0, result.output
    assert "Claims and ledgers agree." in result.output
    assert result.output.count("agrees") == 4


def test_the_command_exits_with_3_and_says_why(run: Path) -> None:
    claim(epsilon=1.0)(run)
    result = invoke(str(run), "--public-key", public_hex(load_or_create_signing_key()))
    assert result.exit_code == 3
    assert "MISMATCH" in result.output
    assert re.search(r"epsilon 2.0, seed 0: epsilon = 1 claimed", result.output)
