"""A guarantee of which only some of the words and numbers matter."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.chain import LedgerHeader

USUAL = Guarantee(
    unit="user",
    relation="zero_out",
    trust="central",
    adversary="sees every released adapter",
    delta=1e-4,
    group=1,
    budget=math.inf,
)


def promised(budget: float = math.inf, delta: float = USUAL.delta, **changes: Any) -> Guarantee:
    """The usual one with another budget, delta and whatever else."""
    return replace(USUAL, budget=budget, delta=delta, **changes)


def differing(header: LedgerHeader, **changes: Any) -> LedgerHeader:
    """A header with another guarantee, or under other settings."""
    if "settings" in changes:
        return replace(header, **changes)
    return replace(header, guarantee=replace(header.guarantee, **changes))
