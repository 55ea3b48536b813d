"""Recompute what a run cost from its ledgers, and compare with what it claims.

`results.json` is the claim; `ledger-*.jsonl` beside it are what happened. Everything that the
claim says about a guarantee is checked against the chained ledger of its point, and everything
that the run hands on against the seal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from shared.privacy.keys import trusted_public_key
from shared.privacy.ledger.seal import signer
from shared.privacy.sentences import begun
from shared.run_files import RunFolder
from simulations.results import Results, Stated
from simulations.verify.artefacts import check_artefacts, promise_reasons
from simulations.verify.plan import check_plan
from simulations.verify.point import VerifyRow, verify_point
from simulations.verify.terms import expected_terms

AGREES, REFUTED, NOT_SHOWN = 0, 3, 4


@dataclass(frozen=True)
class VerifyReport:
    """What `verify_run` found.

    Parameters
    ----------
    rows : tuple of VerifyRow
        In the order of results.json.
    problems : tuple of str
        Of the run as a whole, such as a ledger that no point claims.
    key : str or None
        The public key that the seal names, 64 hexadecimal digits.
    signer : str
        Who vouches for the run, or that no one does.
    vouched : bool
        Whether that is the operator whom the reader named, or this machine's own.
    premises : tuple of str
        What its promises rest on, and nobody can check.
    complete : bool
        Whether the run says that it is. If not, nothing is shown of the points that are missing.
    planned : int
        How many points its settings ask for.
    in_progress : tuple of str
        Ledgers of points that an interrupted run has not finished; no problem, and no promise.
    unsealed : tuple of str
        Files of such points, and files that are none of the run's: nobody vouches for them.
    results : Results
        What was checked, as it was read.
    """

    rows: tuple[VerifyRow, ...]
    problems: tuple[str, ...]
    key: str | None
    signer: str
    vouched: bool
    premises: tuple[str, ...]
    complete: bool
    planned: int
    in_progress: tuple[str, ...]
    unsealed: tuple[str, ...]
    results: Results

    @property
    def ok(self) -> bool:
        """Whether every point and the run as a whole agree."""
        return not self.problems and all(row.ok for row in self.rows)

    @property
    def verdict(self) -> str:
        """In a sentence."""
        if not self.ok:
            return "Claims, ledgers and files DISAGREE."
        if self.exit_code:
            return (
                "NOT SHOWN: claims, ledgers and files agree as far as they go; see the lines above."
            )
        return "Claims, ledgers and files agree."

    @property
    def exit_code(self) -> int:
        """3 if anything disagrees; 4 if nothing does and something is not shown; else 0."""
        if not self.ok:
            return REFUTED
        shown = self.vouched and self.complete and all(row.shown for row in self.rows)
        return AGREES if shown else NOT_SHOWN


def verify_run(directory: Path, key: str | None = None) -> VerifyReport:
    """Recompute every epsilon in a run from its ledgers, and check all that it hands on.

    Parameters
    ----------
    directory : Path
        Holds results.json and the ledgers.
    key : str, optional
        The operator's public key that the seal must be by, 64 hexadecimal digits. Without it
        only a run of this machine's own key is vouched for.

    Returns
    -------
    VerifyReport
        Not `ok` if anything disagrees.

    Raises
    ------
    DataError
        If results.json is missing, unreadable or not results.
    """
    results = Results.read(RunFolder(directory).results)
    plan = check_plan(directory, results)
    given = [expected_terms(results, point) for point in results.points]
    altered, unsealed = check_artefacts(directory, results, given, plan)
    rows: list[VerifyRow] = []
    for point, expected in zip(results.points, given, strict=True):
        first, *more = verify_point(directory, point, expected)
        found = promise_reasons(directory, results, point, expected, [first, *more])
        rows += [replace(first, reasons=(*first.reasons, *found)), *more]
    by = signer(results.stated)
    who, vouched, foreign = vouching(by, key)
    return VerifyReport(
        rows=tuple(rows),
        problems=(*plan.problems, *altered, *([who] if foreign else [])),
        key=by,
        signer=who,
        vouched=vouched,
        premises=tuple(_premises(results)),
        complete=plan.complete,
        planned=plan.planned,
        in_progress=plan.in_progress,
        unsealed=tuple(unsealed),
        results=results,
    )


def _premises(results: Results) -> Iterator[str]:
    model = Stated(Stated(results.config).table("model"))
    if "start" in model.stated:
        yield begun(str(model.get("start_sha256")))


def vouching(by: str | None, named: str | None, whose: str = "operator") -> tuple[str, bool, bool]:
    """Who sealed it in words, whether the reader may rely on that, and whether it is another.

    Parameters
    ----------
    by, named : str or None
        Public keys: of the seal, and whose the reader expects it to be.
    whose : str
        Whose key that is, in words.
    """
    if by is None:
        return "not sealed: nobody vouches for it", False, named is not None
    if by == named:
        return f"sealed by {by}, the key that was named", True, False
    if named is not None:
        return f"sealed by {by}, not by the key that was named, {named}", False, True
    if by == trusted_public_key():
        return f"sealed by {by}, this machine's own key", True, False
    return (
        f"sealed by {by}, whom nobody vouches for: whoever can write to the folder could have "
        f"rewritten everything; name the {whose}'s key with --key",
        False,
        False,
    )
