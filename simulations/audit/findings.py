"""What an audit says: one verdict of one check under one threat model, with its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shared.privacy.guarantee import Guarantee

Verdict = Literal["holds", "violated", "not shown"]


@dataclass(frozen=True)
class Finding:
    """Of one check.

    Attributes
    ----------
    name : str
    verdict : {"holds", "violated", "not shown"}
    threat_model : str
        What whoever attacks sees.
    words : str
        One or two sentences.
    figures : mapping of str to float
    required : bool
        Whether nothing is shown as long as this is not.
    """

    name: str
    verdict: Verdict
    threat_model: str
    words: str
    figures: Mapping[str, float] = field(default_factory=dict)
    required: bool = False


@dataclass(frozen=True)
class Decision:
    """What a verdict rests on: a bound that is wrong far less often than the one that is shown.

    Attributes
    ----------
    bound : float
        >= 0, at confidence 1 - RISK (`simulations.audit.checks.risk`).
    provable : float
        The largest that it could have been: a claim above it is not tested.
    claimed : float
        At its own delta.
    delta : float
    """

    bound: float
    provable: float
    claimed: float
    delta: float

    def figures(self) -> dict[str, float]:
        """As a finding states it."""
        return {
            "deciding bound": self.bound,
            "most deciding": self.provable,
            "deciding claim": self.claimed,
            "deciding delta": self.delta,
        }


def judged(
    bound: float, provable: float, promised: Guarantee | None, decision: Decision | None = None
) -> tuple[Verdict, str]:
    """What a lower bound on epsilon says of a promise, and that in words.

    Parameters
    ----------
    bound : float
        >= 0, at the confidence that is shown.
    provable : float
        The largest bound that the attack could have given.
    promised : Guarantee or None
        To a person, against whoever has the view; None, or without a budget: nothing is.
    decision : Decision or None
        What a verdict rests on; without one nothing is decided.
    """
    if promised is None or not math.isfinite(promised.budget):
        return "not shown", "Nothing is promised to a person against whoever sees this"
    words = f"Guesses show an epsilon of at least {bound:.2f}, where {promised.budget:g} is claimed"
    if decision is None:
        return "not shown", f"{words}. With every guess right it would be {provable:.2f}"
    claimed = f"the {decision.claimed:.3g} that is claimed"
    if decision.delta != promised.delta:
        known = f"{decision.claimed:.3g}" if math.isfinite(decision.claimed) else "unknown epsilon"
        claimed = f"the {known} that the claim is at delta {decision.delta:.2g}"
    if decision.bound > decision.claimed:
        more = f"{decision.bound:.2f}, more than {claimed}"
        return "violated", f"{words}. Also with the certainty that decides it is at least {more}"
    most = f"with every guess right it would be {decision.provable:.2f} with the certainty that"
    if decision.provable <= decision.claimed:
        return "not shown", f"{words}. Nothing is decided: {most} decides, no more than {claimed}"
    if bound > promised.budget:
        return "not shown", f"{words}. That is more, but not with the certainty that decides"
    return "holds", f"{words}. W{most[1:]} decides, more than {claimed}"
