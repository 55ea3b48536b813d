"""`starling verify` on a run that was interrupted: what is unfinished is no mismatch."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.spent import end_of
from simulations.commands.verify import verify
from simulations.verify.run import verify_run
from tests.support.privacy.ledgers import ledger_file, load, save, unfinished

SECOND = ledger_file(math.inf, 0)


@pytest.fixture
def interrupted(run: Path) -> Path:
    """One point of four is done; of the second, two releases are recorded."""
    results = load(run)
    save(run, unfinished(results, results["points"][:1]))
    for epsilon in (2.0, math.inf):
        (run / ledger_file(epsilon, 1)).unlink()
    edit(run, lambda text: b"".join(text.splitlines(keepends=True)[:3]))
    return run


def edit(run: Path, change: Callable[[bytes], bytes]) -> None:
    path = run / SECOND
    path.write_bytes(change(path.read_bytes()))


def problems(run: Path) -> str:
    report = verify_run(run)
    assert not report.ok
    return "\n".join(report.problems)


def test_an_interrupted_run_is_incomplete_and_no_mismatch(interrupted: Path) -> None:
    report = verify_run(interrupted)
    assert report.ok, report.problems
    assert not report.complete
    assert (len(report.rows), report.planned) == (1, 4)
    assert report.in_progress == (f"{SECOND}: in progress, 2 releases recorded, not sealed yet",)


def test_a_complete_run_is_reported_as_such(run: Path) -> None:
    report = verify_run(run)
    assert (report.complete, report.planned, report.in_progress) == (True, 4, ())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:-9], "1 release recorded, not sealed yet; its last line was cut off"),
        (lambda text: text[:-1], "1 release recorded, not sealed yet; its last line was cut off"),
        (lambda text: text[:50], "0 releases recorded, not sealed yet; its last line was cut off"),
        (lambda text: b"", "0 releases recorded"),
        (lambda text: text.splitlines(keepends=True)[0], "0 releases recorded"),
    ],
    ids=["torn entry", "torn line end", "torn header", "empty", "header only"],
)
def test_a_crash_in_writing_is_in_progress(
    interrupted: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    edit(interrupted, change)
    before = (interrupted / SECOND).read_bytes()
    report = verify_run(interrupted)
    assert report.ok, report.problems
    assert words in report.in_progress[0]
    assert (interrupted / SECOND).read_bytes() == before  # verifying repairs nothing


def test_an_edited_ledger_in_progress_is_found(interrupted: Path) -> None:
    edit(interrupted, lambda text: text.replace(b'"round":0', b'"round":5'))
    assert "line 2: edited" in problems(interrupted)


def test_a_removed_line_of_a_ledger_in_progress_is_found(interrupted: Path) -> None:
    def without_the_second(text: bytes) -> bytes:
        lines = text.splitlines(keepends=True)
        return b"".join([lines[0], lines[2]])

    edit(interrupted, without_the_second)
    assert "line 2" in problems(interrupted)


def test_a_ledger_of_other_settings_under_a_planned_name_is_found(interrupted: Path) -> None:
    shutil.copy(interrupted / ledger_file(2.0, 0), interrupted / SECOND)
    assert f"{SECOND}: was opened for other settings" in problems(interrupted)


def test_a_ledger_that_cannot_be_read_is_found(interrupted: Path) -> None:
    (interrupted / SECOND).unlink()
    (interrupted / SECOND).mkdir()
    assert f"{SECOND}: cannot be read" in problems(interrupted)


def test_a_ledger_of_no_planned_point_is_found(interrupted: Path) -> None:
    shutil.copy(interrupted / SECOND, interrupted / "ledger-secret.jsonl")
    assert problems(interrupted) == "ledger-secret.jsonl: no point of results.json claims it"


def test_a_second_ledger_of_a_point_that_is_done_is_found(interrupted: Path) -> None:
    results = load(interrupted)
    other = shutil.copy(interrupted / ledger_file(2.0, 0), interrupted / "ledger-other.jsonl")
    results["points"][0]["ledger"] = end_of(Ledger.open(other))
    save(interrupted, results)
    assert problems(interrupted) == f"{ledger_file(2.0, 0)}: no point of results.json claims it"


def test_calling_it_complete_is_found(interrupted: Path) -> None:
    save(interrupted, {**load(interrupted), "complete": True})
    said = problems(interrupted)
    assert f"{SECOND}: no point of results.json claims it" in said
    assert "epsilon inf, seed 1: planned, but missing" in said


def test_a_point_that_was_not_planned_is_found(interrupted: Path) -> None:
    results = load(interrupted)
    results["config"]["sweep"]["epsilons"] = ["inf"]
    save(interrupted, results)
    assert "epsilon 2, seed 0: not in the settings' sweep" in problems(interrupted)


def test_nothing_is_done_yet(interrupted: Path) -> None:
    save(interrupted, unfinished(load(interrupted), []))
    report = verify_run(interrupted)
    assert report.ok, report.problems
    assert [line.split(":")[0] for line in report.in_progress] == [ledger_file(2.0, 0), SECOND]


def test_the_command_says_that_the_run_is_incomplete(interrupted: Path) -> None:
    app = typer.Typer()
    app.command()(verify)
    result = CliRunner().invoke(app, [str(interrupted)])
    assert result.exit_code == 4, result.output
    assert f"{SECOND}: in progress" in result.output
    assert "INCOMPLETE: 1 of 4 planned points" in result.output
    edit(interrupted, lambda text: text.replace(b'"round":0', b'"round":5'))
    assert CliRunner().invoke(app, [str(interrupted)]).exit_code == 3
