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


def judged(bound: float, provable: float, promised: Guarantee | None) -> tuple[Verdict, str]:
    """What a lower bound on epsilon says of a promise, and that in words.

    Parameters
    ----------
    bound : float
        >= 0.
    provable : float
        The largest bound that the attack could have given: a promise above it is not tested.
    promised : Guarantee or None
        To a person, against whoever has the view; None, or without a budget: nothing is.
    """
    if promised is None or not math.isfinite(promised.budget):
        return "not shown", "Nothing is promised to a person against this view"
    claimed = promised.budget
    words = f"Epsilon is at least {bound:.2f}, of {claimed:g} claimed"
    if bound > claimed:
        return "violated", words
    if provable > claimed:
        return "holds", f"{words} and {provable:.2f} that could have been shown"
    return "not shown", f"{words}; more than {provable:.2f} could not have been shown"
