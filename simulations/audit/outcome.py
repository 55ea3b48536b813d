"""An audit as a whole: its parts, one verdict, and the file that says both under a seal.

`audit.json` and the page beside it are under the auditor's own key, and name what was audited by
its SHA-256: neither can be edited, nor laid beside another run, unnoticed.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from shared.errors import DataError
from shared.files import read_file
from shared.privacy.ledger.seal import digests, seal_problems, sealed_files, signer, write_sealed
from simulations.audit.findings import Finding, Verdict

SCHEMA = 1
UNCOVERED = "points not covered"
FILE, PAGE = "audit.json", "audit.html"
EXIT: Mapping[str, int] = {"holds": 0, "violated": 3, "not shown": 4}


@dataclass(frozen=True)
class Part:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        Such as the name of a point.
    about : str
        What was done, on whose data: one or two sentences.
    claimed : mapping
        `epsilon`, `delta`, `unit`, `trust` of the promise; empty where there is none.
    findings, controls : tuple of Finding
        Controls say whether the audit sees what is there to be seen, and nobody who is not.
    worst : tuple of mapping
        The most exposed people, without a name: `interactions`, `shift`, `right`.
    """

    name: str
    about: str
    claimed: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    controls: tuple[Finding, ...] = ()
    worst: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Self:
        """What `stated` gave."""
        found = {name: tuple(_finding(each) for each in tree[name]) for name in _FINDINGS}
        return cls(**{**tree, **found, "worst": tuple(tree["worst"])})

    def stated(self) -> dict[str, Any]:
        """As JSON has it."""
        found = {name: [vars(each) for each in getattr(self, name)] for name in _FINDINGS}
        return {**vars(self), **found, "worst": list(self.worst)}


_FINDINGS = ("findings", "controls")


def _finding(tree: Mapping[str, Any]) -> Finding:
    """Of a file, in which infinity is text."""
    figures = {name: float(of) for name, of in tree["figures"].items()}
    return Finding(**{**tree, "figures": figures})


def _lacks(found: Finding) -> bool:
    return found.verdict != "holds"


def _fails(control: Finding) -> bool:
    """Where noise is on every message none can be taken off: that alone is no failure."""
    return control.verdict == "violated" or (control.required and _lacks(control))


@dataclass(frozen=True)
class Audit:
    """What was audited, how, and what came of it.

    Attributes
    ----------
    subject : mapping
        `kind`, `name` (of a folder or file, without where it lies), `sha256` of `file`, and what
        else identifies it.
    settings : mapping
        Of the audit: `quick`, `canaries`, `confidence`, `risk`, versions, when it was made.
    parts : tuple of Part
    cannot : tuple of str
        What whoever holds no more than this cannot check, in words.
    limits : tuple of str
        Of what was checked, in words.
    """

    subject: Mapping[str, Any]
    settings: Mapping[str, Any]
    parts: tuple[Part, ...]
    cannot: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def findings(self) -> list[tuple[Part, Finding]]:
        """All of them, and of which part each is."""
        return [(part, each) for part in self.parts for each in part.findings]

    @property
    def verdict(self) -> Verdict:
        """Violated if anything is; else holds where something was shown and all controls work."""
        verdicts = Counter(each.verdict for _, each in self.findings)
        if verdicts["violated"]:
            return "violated"
        blind = any(_fails(each) for part in self.parts for each in part.controls)
        needed = [each for _, each in self.findings if each.required]
        shown = all(each.verdict == "holds" for each in needed)
        return "holds" if needed and shown and not blind else "not shown"

    @property
    def exit_code(self) -> int:
        """0 holds, 3 violated, 4 not shown."""
        return EXIT[self.verdict]

    @property
    def words(self) -> str:
        """The verdict in one sentence, with its first reason."""
        for part, each in self.findings:
            if each.verdict == "violated":
                return f"VIOLATED: {part.name}: {each.name}: {each.words}."
        counted = Counter(each.verdict for _, each in self.findings)
        told = f"{counted['holds']} checks passed, {counted['not shown']} could decide nothing"
        if self.verdict == "holds":
            more = " ".join(
                f" {each.words}." for _, each in self.findings if each.name == UNCOVERED
            )
            return f"No violation was found: {told}.{self._power()}{more}"
        reasons = [
            f"{part.name}: {each.name}: {each.words}"
            for part in self.parts
            for each in (*part.controls, *part.findings)
            if (each in part.controls and _fails(each)) or (each.required and _lacks(each))
        ]
        return f"NOT SHOWN: {reasons[0] if reasons else told}."

    def _power(self) -> str:
        """What bounds could have decided; empty where nothing is claimed of any."""
        bounded = [
            (each.figures["most deciding"], claim)
            for _, each in self.findings
            if "most deciding" in each.figures
            and 0 < (claim := each.figures.get("deciding claim", math.inf)) < math.inf
        ]
        if not bounded:
            return ""
        sharp = sum(most > claim for most, claim in bounded)
        if sharp:
            return f" In {sharp} cases guesses could have disproved a claim, and did not."
        most, claim = max(bounded, key=lambda each: each[0] / each[1])
        return (
            f" No guesses could have disproved a claimed epsilon: had all been right, they would "
            f"have shown {most:.2f}, of {claim:.3g}. What passed are the other checks."
        )

    def stated(self) -> dict[str, Any]:
        """As `audit.json` has it."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "words": self.words,
            "audited": dict(self.subject),
            "settings": dict(self.settings),
            "parts": [part.stated() for part in self.parts],
            "cannot": list(self.cannot),
            "limits": list(self.limits),
        }

    def write(self, folder: Path) -> Path:
        """Write `audit.json` under the auditor's seal, which vouches for the page there too."""
        file = folder / FILE
        write_sealed(file, self.stated(), digests(folder, [folder / PAGE]))
        return file


@dataclass(frozen=True)
class Read:
    """An audit that was read back.

    Attributes
    ----------
    audit : Audit
    key : str or None
        The auditor's public key, as the file names it.
    problems : tuple of str
        Why it is not what was sealed; empty if it is.
    """

    audit: Audit
    key: str | None
    problems: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path) -> Self:
        """An audit's folder.

        Raises
        ------
        DataError
            If there is none in it.
        """
        file = folder / FILE
        try:
            tree = json.loads(read_file(file).decode())
            audit = _audit(tree)
            follows = (tree["verdict"], tree["words"]) == (audit.verdict, audit.words)
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from None
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            raise DataError(f"{file}: not an audit of schema {SCHEMA}") from None
        problems = seal_problems(file, tree, folder)
        if PAGE not in sealed_files(tree):
            problems.append(f"{PAGE}: the seal does not vouch for it")
        if not follows:
            problems.append(f"{FILE}: its verdict does not follow from its findings")
        return cls(audit, signer(tree), tuple(problems))


def _audit(tree: Mapping[str, Any]) -> Audit:
    if tree["schema"] != SCHEMA:
        raise ValueError
    parts = tuple(Part.of(each) for each in tree["parts"])
    told: Sequence[Sequence[str]] = (tree["cannot"], tree["limits"])
    cannot, limits = (tuple(map(str, each)) for each in told)
    if not isinstance(tree["audited"].get("files", {}), dict):
        raise TypeError
    return Audit(dict(tree["audited"]), dict(tree["settings"]), parts, cannot, limits)
