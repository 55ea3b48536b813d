"""A run that is complete: shown as it stands, never written again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from shared.errors import ConfigError, LedgerError
from shared.files import RESTORE, NotAFileError, check_file, read_record
from shared.privacy.ledger.seal import signature_problem
from shared.run_files import RunFolder
from simulations.results import Results
from simulations.verify.run import VerifyReport, verify_run


def finished(run: RunFolder) -> tuple[Results, str] | None:
    """The results of a folder's run if they are complete and agree with all that lies there.

    Nothing is made anew in it: what is missing or altered there was sealed once, and is whoever's
    to restore who has a copy.

    Returns
    -------
    results : Results
    signer : str
        Who vouches for them, in words.
        None instead of both where nothing was made yet, or a part is missing in them.

    Raises
    ------
    ConfigError
        If they are damaged, or gone while something is there that was made: an interruption leaves
        them whole, and before anything else is.
    LedgerError
        If they were edited, or are complete and `starling verify` would find something that
        disagrees.
    """
    if not run.results.exists():
        if made := run.made():
            raise ConfigError(
                f"{run.results}: missing, and {made[0].relative_to(run.path)} is there; {RESTORE}"
            )
        return None
    for file in run.everything():
        if file.suffix != ".part":  # which nobody reads
            _refuse_pipe(file)
    read_record(run.results, ("complete", "points"))
    results = Results.read(run.results)
    if problem := signature_problem(run.results, results.stated):
        raise LedgerError(f"{run.path}: {problem}; {RESTORE}")
    if results.get("complete") is not True:
        return None
    report = verify_run(run.path)
    if not report.ok:
        raise LedgerError(
            f"{run.path}: the run is complete, nothing in it is made anew: {_first(report)}; "
            f"{RESTORE}"
        )
    return results, report.signer


def _refuse_pipe(file: Path) -> None:
    with suppress(FileNotFoundError):  # a link to nothing
        try:
            check_file(file)
        except NotAFileError as error:
            raise ConfigError(f"{file}: {error}") from None


def _first(report: VerifyReport) -> str:
    reasons = [f"{row.point}: {reason}" for row in report.rows for reason in row.reasons]
    return [*report.problems, *reasons][0]
