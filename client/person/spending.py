"""What a device agreed to, what its owner allows, and what taking part has cost."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from client.device.agreement import AGREED, CAPS, LEDGER, PARTICIPATION, Agreement
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.budget import records
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.caps import Caps, load_caps
from shared.privacy.policy.signed import Policy, Promise, load_policy


@dataclass(frozen=True)
class Kind:
    """What one kind of release cost by itself; kinds together cost no more than their sum.

    Attributes
    ----------
    kind : str
        As ledgers call it: `update`, `histogram`, ...
    times : int
    epsilon : float
    """

    kind: str
    times: int
    epsilon: float


@dataclass(frozen=True)
class Budget:
    """What counts towards one promise.

    Attributes
    ----------
    guarantee : Guarantee
        At the owner's delta.
    spent, cap : float
        Epsilon, >= 0.
    kinds : tuple of Kind
    """

    guarantee: Guarantee
    spent: float
    cap: float
    kinds: tuple[Kind, ...] = ()

    @property
    def left(self) -> float:
        """Epsilon until the owner's cap; infinity where there is none."""
        return max(0.0, self.cap - self.spent)


@dataclass(frozen=True)
class Spending:
    """All that a device's state folder says of it.

    Attributes
    ----------
    caps : Caps
    caps_file : Path or None
        None where the owner wrote none, and the safe ones hold.
    agreed : Policy or None
        The policy that was accepted last.
    kept : tuple of Ledger
        Oldest first.
    budgets : tuple of Budget
        One for each promise that anything counts towards; none before there was one.
    """

    caps: Caps
    caps_file: Path | None
    agreed: Policy | None
    kept: tuple[Ledger, ...]
    budgets: tuple[Budget, ...]


def read_spending(state: Path) -> Spending:
    """What a device's folder says; nothing in it is changed.

    Raises
    ------
    ConfigError, PrivacyError, LedgerError
        If a file of it cannot be read or was altered.
    """
    caps, file, agreed = load_caps(state / CAPS), state / CAPS, state / AGREED
    made = load_policy(agreed, None) if os.path.lexists(agreed) else None
    ledgers = [each for name in (PARTICIPATION, LEDGER) for each in records(state / name)]
    kept = [Ledger.recover(each, repair=False) for each in ledgers]
    counted = {promise.guarantee.trust: promise for promise in (made.promises if made else ())}
    for ledger in kept:  # where no agreement says it
        counted.setdefault(ledger.header.guarantee.trust, Promise(ledger.header.guarantee, ()))
    gate = Agreement(state, made.issuer if made else "")
    budgets = tuple(_budget(gate, each, caps, kept) for each in counted.values())
    return Spending(caps, file if os.path.lexists(file) else None, made, tuple(kept), budgets)


def _budget(gate: Agreement, promise: Promise, caps: Caps, kept: list[Ledger]) -> Budget:
    spent, delta = gate.spent(promise)
    told = promise.guarantee.at(delta)
    own = told.trust == "local"
    entries = [
        entry
        for ledger in kept
        if (ledger.header.guarantee.trust == "local") == own
        for entry in ledger.entries
    ]
    kinds = Counter(entry.release for entry in entries)
    costs = {
        kind: epsilon([(each.event, 1) for each in entries if each.release == kind], *told.counted)
        for kind in kinds
    }
    found = tuple(Kind(kind, times, costs[kind]) for kind, times in kinds.items())
    return Budget(told, spent, caps.epsilon, found)
