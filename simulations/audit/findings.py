"""What an audit says: one verdict of one check under one threat model, with its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
    """

    name: str
    verdict: Verdict
    threat_model: str
    words: str
    figures: Mapping[str, float] = field(default_factory=dict)
