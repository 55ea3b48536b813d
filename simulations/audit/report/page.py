"""The page of an audit: self-contained, and everything in it is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import PackageLoader

from shared.files import write_atomically
from simulations.audit.attacks.reconstruction import LEAK
from simulations.audit.findings import Finding
from simulations.audit.outcome import PAGE, Audit, Part
from simulations.audit.report.figure import evidence_panels
from simulations.audit.words import question
from simulations.report.figures import inline_svg
from simulations.report.page import template
from simulations.report.tables import number

_RELATIONS = {"zero_out": "nothing", "replace_one": "other data"}
_DRAWN = "Epsilon claimed and epsilon shown, for each view; the tables below hold the same numbers."


def write_page(audit: Audit, folder: Path) -> Path:
    """Write `audit.html` into an existing folder."""
    path = folder / PAGE
    write_atomically(path, render(audit))
    return path


def render(audit: Audit) -> str:
    """The page as text."""
    page = template(PackageLoader("simulations.audit.report", "."))
    return page.render(_view(audit))


def _view(audit: Audit) -> dict[str, Any]:
    quick = audit.settings.get("quick")
    return {
        "audit": audit,
        "depth": "a quick audit" if quick else "a full audit",
        "warnings": [part.about for part in audit.parts if "made-up" in part.about][:1],
        "models": _by_model([each for _, each in audit.findings]),
        "confidence": f"{float(audit.settings.get('confidence', 0.95)):.0%}",
        "panels": [
            inline_svg(figure, f"evidence-{number}", _DRAWN, tips)
            for number, (figure, tips) in enumerate(evidence_panels(audit))
        ],
        "parts": [_of_part(part) for part in audit.parts],
        "about": [
            (name, _shown(of))
            for name, of in {**audit.subject, **audit.settings}.items()
            if name != "files"
        ],
    }


def _shown(value: object) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else number(value)


def _by_model(found: Sequence[Finding]) -> list[dict[str, Any]]:
    counted: dict[str, Counter[str]] = {}
    for each in found:
        if not each.name.startswith(LEAK):  # each view of a leak is a model of its own
            counted.setdefault(each.threat_model, Counter())[each.verdict] += 1
    return [
        {
            "model": model,
            "holds": of["holds"],
            "violated": of["violated"],
            "unshown": of["not shown"],
        }
        for model, of in counted.items()
    ]


def _of_part(part: Part) -> dict[str, Any]:
    beside = [each for each in part.findings if each.verdict == "not shown" and not each.required]
    decided = [each for each in part.findings if each not in beside]
    order = ("violated", "not shown", "holds")  # the reader's time is short
    decided.sort(key=lambda each: order.index(each.verdict))
    return {
        "name": part.name,
        "about": part.about,
        "claimed": _claimed(part.claimed),
        "decided": [_row(each) for each in decided],
        "controls": [_row(each) for each in part.controls],
        "beside": [_row(each) for each in beside],
        "worst": [_person(each) for each in part.worst],
    }


def _claimed(told: Mapping[str, Any]) -> str:
    """A promise in one sentence; empty where there is none, or another part has it."""
    if "delta" not in told:
        return ""
    words = f"epsilon {number(told['epsilon'])} at delta {number(told['delta'])}"
    if "unit" in told:
        words = f"{told['unit']}-level {words} under {told['trust']} trust"
    against = f", against {told['adversary']}" if told.get("adversary") else ""
    return f"{words}, compared with {_RELATIONS[told['relation']]} in their place{against}."


def _row(found: Finding) -> dict[str, str]:
    figures = "; ".join(f"{name} {of:.4g}" for name, of in found.figures.items())
    return {
        "question": question(found.name),
        "name": found.name,
        "verdict": found.verdict,
        "words": f"{found.words}.",
        "figures": figures,
        "threat_model": found.threat_model,
    }


def _person(of: Mapping[str, Any]) -> dict[str, str]:
    value, low, high = (f"{100 * float(of[name]):.0f}" for name in ("value", "low", "high"))
    return {
        "interactions": f"{of['interactions']}",
        "shift": f"{float(of['shift']):.2f}",
        "right": f"{value} % ({low} to {high})",
    }
