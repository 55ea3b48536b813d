"""Recompute what a run cost from its ledgers, and compare with what it claims.

`results.json` is the claim; `ledger-*.jsonl` beside it are what happened. Everything that the
claim says about a guarantee is checked against the chained, sealed ledger of its point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError
from shared.privacy.keys import trusted_public_key
from shared.run_files import RunFolder
from simulations.results import Results
from simulations.verify.plan import check_plan
from simulations.verify.point import VerifyRow, verify_point


@dataclass(frozen=True)
class VerifyReport:
    """What `verify_run` found.

    Parameters
    ----------
    rows : tuple of VerifyRow
        In the order of results.json.
    problems : tuple of str
        Of the run as a whole, such as a ledger that no point claims.
    signer : str
        Who vouches for the ledgers, or that no one does.
    complete : bool
        Whether the run says that it is. If not, nothing is shown of the points that are missing.
    planned : int
        How many points its settings ask for.
    in_progress : tuple of str
        Ledgers of points that an interrupted run has not finished; no problem, and no promise.
    """

    rows: tuple[VerifyRow, ...]
    problems: tuple[str, ...]
    signer: str
    complete: bool
    planned: int
    in_progress: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every point and the run as a whole agree."""
        return not self.problems and all(row.ok for row in self.rows)


def verify_run(directory: Path, public_key: str | None = None) -> VerifyReport:
    """Recompute every epsilon in a run from its ledgers.

    Parameters
    ----------
    directory : Path
        Holds results.json and the ledgers.
    public_key : str, optional
        The operator's key that the seals must be by, 64 hexadecimal digits. Default: the one in
        the local key store; if there is none, the report says that the signer is not vouched for.

    Returns
    -------
    VerifyReport
        Not `ok` if any claim and its ledger disagree.

    Raises
    ------
    DataError
        If results.json is missing, unreadable or not results.
    ConfigError
        If `public_key` is not a key.
    """
    if public_key is not None and not re.fullmatch("[0-9a-f]{64}", public_key):
        raise ConfigError(f"public key {public_key!r}: expected 64 hexadecimal digits (0-9, a-f)")
    results = Results.read(RunFolder(directory).results)
    trusted = public_key or trusted_public_key()
    plan = check_plan(directory, results)
    rows = tuple(
        row for point in results.points for row in verify_point(directory, results, point, trusted)
    )
    return VerifyReport(
        rows=rows,
        problems=plan.problems,
        complete=plan.complete,
        planned=plan.planned,
        in_progress=plan.in_progress,
        signer=f"seals must be by {trusted}"
        if trusted
        else "the signer is not vouched for: no key in the local key store, and none given "
        "(--public-key); whoever can write to the folder could have rewritten everything",
    )
