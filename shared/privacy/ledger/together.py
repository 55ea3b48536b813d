"""What several ledgers of the same people cost together: one composition of all their releases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.privacy.accounting.accountant import epsilon, epsilon_prv, epsilon_rdp
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.plan.several import same_promise


@dataclass(frozen=True)
class Together:
    """Of whoever sees everything that all of them record.

    Attributes
    ----------
    guarantee : Guarantee
        Of the first; its budget is that ledger's own.
    epsilon : float
        By PLD: the figure that counts.
    epsilon_rdp, epsilon_prv : float or None
        By the two other accountants, where they know the history.
    """

    guarantee: Guarantee
    epsilon: float
    epsilon_rdp: float | None
    epsilon_prv: float | None


def spent_together(ledgers: Sequence[Ledger]) -> Together:
    """Recompute it from the entries.

    Parameters
    ----------
    ledgers : sequence of Ledger
        At least one.

    Raises
    ------
    ConfigError
        If they are not of one unit, relation, trust, group and delta.
    """
    promised = same_promise([ledger.header.guarantee for ledger in ledgers])
    events = [(entry.event, 1) for ledger in ledgers for entry in ledger.entries]
    counted = promised.counted
    return Together(
        promised,
        epsilon(events, *counted),
        epsilon_rdp(events, *counted),
        epsilon_prv(events, *counted),
    )
