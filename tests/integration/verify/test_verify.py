"""`starling verify`: agrees with an honest run and with nothing else."""

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from shared.config import SweepConfig
from shared.errors import DataError
from shared.privacy.keys import load_or_create_signing_key, public_hex
from simulations.commands.verify import verify
from simulations.verify import meaning as meaning_module
from simulations.verify import point as verify_module
from simulations.verify.run import verify_run
from tests.support.privacy.ledgers import EXPERIMENT, load, results_of, rewrite, save, write_point


def test_agrees_with_an_honest_run(run: Path) -> None:
    report = verify_run(run)
    assert report.ok, (report.problems, [row.reason for row in report.rows])
    row = report.rows[0]
    assert row.claimed == row.epsilon == pytest.approx(2.0, rel=1e-4)
    assert row.epsilon_rdp is not None
    assert row.epsilon_rdp > row.epsilon
    assert row.epsilon_prv == pytest.approx(row.epsilon, abs=0.03)
    assert report.rows[1].epsilon == math.inf
    assert (row.delta, report.rows[1].delta) == (1e-4, None)  # where nothing is promised: none
    assert public_hex(load_or_create_signing_key()) in report.signer


def test_a_ledger_without_noise_cannot_claim_a_finite_epsilon(run: Path) -> None:
    results = load(run)
    results["points"][1].update(epsilon=2.0, epsilon_target=2.0)
    save(run, results)
    assert "inf spent by the ledger" in verify_run(run).rows[1].reason


def test_another_operators_run_is_shown_to_who_names_the_key(run: Path, home: Path) -> None:
    key = public_hex(load_or_create_signing_key())
    assert verify_run(run).exit_code == verify_run(run, key).exit_code == 0
    (home / "keys" / "ledger.pem").unlink()
    for _ in ("no key of one's own", "another one"):
        unknown = verify_run(run)
        assert (unknown.ok, unknown.vouched, unknown.exit_code) == (True, False, 4)
        assert "whom nobody vouches for" in unknown.signer
        assert verify_run(run, key).exit_code == 0
        load_or_create_signing_key()


def test_a_full_rewrite_is_shown_to_nobody(run: Path, home: Path) -> None:
    """Whoever sealed it anew is not the operator: refuted with the key, not shown without."""
    key = public_hex(load_or_create_signing_key())
    rewrite(run, Ed25519PrivateKey.generate())
    report = verify_run(run)
    assert (report.ok, report.exit_code) == (True, 4)
    assert "could have rewritten everything" in report.signer
    report = verify_run(run, key)
    assert report.exit_code == 3
    assert f"not by the key that was named, {key}" in report.problems[0]


def test_disagreeing_accountants_are_reported(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "epsilon_rdp", lambda *_: 1.0)
    monkeypatch.setattr(verify_module, "epsilon_prv", lambda *_: 1.0)
    reason = verify_run(run).rows[0].reason
    assert "exceeds RDP" in reason
    assert "PRV 1" in reason


def test_what_no_accountant_can_count_is_no_traceback(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one release of z = 0.01 with q = 1e-9: in a pair nothing is left of its grid."""

    def fails(*_: object) -> None:
        raise ValueError("zero-size array")

    monkeypatch.setattr(meaning_module, "meaning_of", fails)
    assert "meaning: cannot be recomputed (zero-size array)" in verify_run(run).rows[0].reason
    monkeypatch.setattr(verify_module, "epsilon_prv", fails)
    assert "cannot count its ledger (zero-size array)" in verify_run(run).rows[0].reason


@pytest.mark.parametrize("nested", ["[" * 100 + "]" * 100, '{"a":' * 600 + "1" + "}" * 600])
def test_what_is_nested_deeper_than_results_are_is_bad_input(run: Path, nested: str) -> None:
    text = json.dumps({**load(run), "metrics_status": "HERE"}).replace('"HERE"', nested)
    (run / "results.json").write_text(text)
    with pytest.raises(DataError, match="nested too deeply"):
        verify_run(run)


def test_json_is_json_whatever_is_claimed(run: Path) -> None:
    results = load(run)
    results["points"][0]["epsilon"] = "HERE"
    for claimed in ("-Infinity", "NaN", "-1", "0"):
        text = json.dumps(results).replace('"HERE"', claimed)
        (run / "results.json").write_text(text)
        page = invoke(str(run), "--json").output
        rows = json.loads(page, parse_constant=lambda name: pytest.fail(name))["rows"]
        assert rows[0]["claimed"] is None


# A crash makes the ledger over-count: the same round twice is one round that cost twice.


KINDS = ("", "histogram_")


def test_a_repeated_round_counts_twice(tmp_path: Path, home: Path) -> None:
    point = write_point(tmp_path, 2.0, 0, rounds=(1, 2, 2, 3, 4))
    config = replace(EXPERIMENT, sweep=SweepConfig((2.0,), (0,), references=()))
    save(tmp_path, results_of([point], config))
    report = verify_run(tmp_path)
    own = [f"{kind}noise_multiplier = {point[f'{kind}noise_multiplier']}" for kind in KINDS]
    told = [reason.partition(" claimed")[0] for reason in report.rows[0].reasons]
    assert (report.problems, told) == ((), [name for name in own if name in told])  # of five rounds
    assert (point["rounds"], point["ledger"]["entries"]) == (4, 6)
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


# The command.


def invoke(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(verify)
    return CliRunner().invoke(app, list(arguments))


def test_the_command_agrees(run: Path) -> None:
    result = invoke(str(run))
    assert result.exit_code == 0, result.output
    assert "Claims, ledgers and files agree." in result.output
    assert result.output.count("agrees") == 4


def test_the_command_exits_with_3_and_says_why(run: Path) -> None:
    results = load(run)
    results["points"][0]["epsilon"] = 1.0
    save(run, results)
    result = invoke(str(run), "--key", public_hex(load_or_create_signing_key()))
    assert result.exit_code == 3
    assert "MISMATCH" in result.output
    assert re.search(r"epsilon 2, seed 0: epsilon = 1 claimed", result.output)


def test_the_command_prints_what_the_folder_says_as_plain_text(run: Path) -> None:
    """A name can neither style the report, nor forge a line of it, nor end it with a traceback."""
    results = load(run)
    results["points"][0]["seed"] = "[/bold]"
    save(run, results)
    (run / "ledger-\nClaims, ledgers and files agree.\x1b[2J.jsonl").write_text("")
    result = invoke(str(run))
    assert result.exit_code == 3, result.output
    assert "seed '[/bold]': not in the settings' sweep" in result.output
    assert "Claims, ledgers and files agree." not in result.output.splitlines()
    assert "\x1b" not in result.output
