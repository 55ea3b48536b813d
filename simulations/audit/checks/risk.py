"""How sure a check is, and how findings of it are worded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulations.audit.evidence import SHARES, Bits, Bound, Scores, best, most_provable, one_run
from simulations.audit.findings import Decision, Finding

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


def decision(
    seen: tuple[Scores, Bits],
    delta: float,
    claimed: float,
    bound: Bound = one_run,
    shares: Sequence[float] = SHARES,
) -> Decision:
    """What scores and coins say at the confidence that decides; see `simulations.audit.evidence`.

    Parameters
    ----------
    seen : float64 [m] and bool [m]
        Scores, and who is in.
    delta, claimed : float
        In [0, 1), and epsilon that is claimed at it.
    bound : callable
    shares : sequence of float
    """
    found = best(*seen, delta, 1 - RISK, bound, shares)
    most = most_provable(len(seen[0]), delta, 1 - RISK, bound, shares)
    return Decision(found, most, claimed, delta)
