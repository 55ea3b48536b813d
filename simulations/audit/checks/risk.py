"""How sure a check is, and how findings of it are worded."""

from __future__ import annotations

from collections.abc import Mapping

from simulations.audit.findings import Finding

RISK = 1e-4
"""Of saying "violated" of correct code: of each check, whatever it looks at in how many places."""

REPLAY = "whoever runs the same settings again and sees every message and every release"
FILES = "whoever is handed the run's files"


def finding(
    name: str, wrong: str, right: str, figures: Mapping[str, float], view: str = REPLAY
) -> Finding:
    """Violated where there are words of what is wrong, else as the others say."""
    return Finding(name, "violated" if wrong else "holds", view, wrong or right, figures)


def not_shown(name: str, why: str, view: str = REPLAY) -> Finding:
    """That this replay says nothing of it."""
    return Finding(name, "not shown", view, why)
