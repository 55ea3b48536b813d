"""A run that is complete: shown as it stands, never written again."""

from __future__ import annotations

from shared.errors import DataError, LedgerError
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
        None instead of both where there are no results, or a part is missing in them.

    Raises
    ------
    LedgerError
        If they are complete and `starling verify` would find something that disagrees.
    """
    try:
        results = Results.read(run.results)
    except DataError:  # what an interrupted run left, or less: its parts are read one by one
        return None
    if results.get("complete") is not True:
        return None
    report = verify_run(run.path)
    if not report.ok:
        raise LedgerError(
            f"{run.path}: the run is complete, nothing in it is made anew: {_first(report)}; "
            "restore that from a copy, or start a new run with another --out"
        )
    return results, report.signer


def _first(report: VerifyReport) -> str:
    reasons = [f"{row.point}: {reason}" for row in report.rows for reason in row.reasons]
    return [*report.problems, *reasons][0]
