"""Whether an audit is what its auditor sealed, and about what lies beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shared.privacy.ledger.seal import file_problem
from simulations.audit.outcome import EXIT, Audit, Read
from simulations.verify.run import vouching


@dataclass(frozen=True)
class AuditReport:
    """What `check_audit` found.

    Attributes
    ----------
    audit : Audit
    key : str or None
        The auditor's.
    signer : str
        Who vouches for it, or that no one does.
    vouched, foreign : bool
        Whether the reader may rely on that; and whether it is by another key than was named.
    problems : tuple of str
        Why it is not what was sealed, or not about what lies beside it.
    beside : bool
        Whether what was audited lies beside the audit, as it was then.
    """

    audit: Audit
    key: str | None
    signer: str
    vouched: bool
    foreign: bool
    problems: tuple[str, ...]
    beside: bool

    @property
    def exit_code(self) -> int:
        """3 if it was altered or says so; 4 if it is not shown, or of nothing here; else 0."""
        if self.problems:
            return EXIT["violated"]
        if self.audit.verdict == "violated" or (self.vouched and self.beside):
            return self.audit.exit_code
        return EXIT["not shown"]

    @property
    def verdict(self) -> str:
        """In one line."""
        if self.foreign:
            return "The audit was NOT sealed by the key that was named."
        if self.problems:
            return "The audit is NOT what was sealed, or not about what lies beside it."
        told = f"The audit is as it was sealed. {self.audit.words}"
        name = self.audit.subject.get("name")
        if not self.beside:
            return f"{told} NOT SHOWN: {name}, which it is about, is not beside it."
        return told if self.vouched else f"{told} NOT SHOWN: nobody vouches for its key."


def check_audit(folder: Path, key: str | None = None) -> AuditReport:
    """Check an audit's folder.

    Parameters
    ----------
    folder : Path
        Holds `audit.json`.
    key : str, optional
        The auditor's public key that must have sealed it.

    Raises
    ------
    DataError
        If there is no audit in it.
    """
    read = Read.of(folder)
    who, vouched, foreign = vouching(read.key, key, "auditor")
    problems = [*read.problems, *([who] if foreign else [])]
    there = _there(folder, read.audit)
    if there is not None and (changed := _changed(there, read.audit)):
        name = read.audit.subject.get("name")
        problems.append(f"{name}: beside it, and not what was audited: {changed}")
    return AuditReport(
        read.audit, read.key, who, vouched, foreign, tuple(problems), there is not None
    )


def _there(folder: Path, audit: Audit) -> Path | None:
    """What was audited, where it lies beside the audit."""
    name = PurePosixPath(str(audit.subject.get("name")))
    there = folder.resolve().parent / name
    plain = not name.is_absolute() and ".." not in name.parts and "\0" not in str(name)
    return there if plain and there.exists() else None


def _changed(there: Path, audit: Audit) -> str:
    """The first of the audited files that is another now; empty if none is."""
    named = str(audit.subject.get("file"))
    files = audit.subject.get("files") or {named: audit.subject.get("sha256")}
    folder = there.parent if there.is_file() else there
    return next(filter(None, (file_problem(folder, name, was) for name, was in files.items())), "")
