"""Whether an audit is what its auditor sealed, and about what lies beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shared.privacy.ledger.seal import digests
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
    vouched : bool
    problems : tuple of str
        Why it is not what was sealed, or not about what lies beside it.
    beside : bool
        Whether what was audited lies beside the audit, as it was then.
    """

    audit: Audit
    key: str | None
    signer: str
    vouched: bool
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
    who, vouched, foreign = vouching(read.key, key)
    problems = [*read.problems, *([who] if foreign else [])]
    now, was = _now(folder, read.audit), read.audit.subject.get("sha256")
    if now is not None and now != was:
        problems.append(f"{read.audit.subject.get('name')}: beside it, and not what was audited")
    return AuditReport(read.audit, read.key, who, vouched, tuple(problems), now is not None)


def _now(folder: Path, audit: Audit) -> str | None:
    """SHA-256 of what was audited as it lies beside the audit; None where it does not."""
    name, file = (str(audit.subject.get(each)) for each in ("name", "file"))
    if any(PurePosixPath(each).name != each for each in (name, file)):
        return None
    there = folder.resolve().parent / name
    found = there if there.is_file() else there / file
    return digests(found.parent, [found]).get(found.name)
