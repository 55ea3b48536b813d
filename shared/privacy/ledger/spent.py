"""What a finished record shows: epsilon three ways, and what that says."""

from __future__ import annotations

import math
from typing import Any

from shared.config import ExperimentConfig
from shared.privacy.accounting.accountant import epsilon_prv, epsilon_rdp, largest
from shared.privacy.accounting.meaning import Meaning, meaning
from shared.privacy.contribution.units import examples_per_user
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.ledger.ledger import Ledger

Record = Ledger | DeviceLedgers


def spent(record: Record, config: ExperimentConfig, users: int) -> dict[str, Any]:
    """As a point of `results.json` states it.

    Parameters
    ----------
    record : Ledger or DeviceLedgers
        Of devices the costliest counts.
    config : ExperimentConfig
        Of the point.
    users : int
        Size of the population, >= 1.
    """
    counted = (record.histories(), *record.header.guarantee.counted)
    figures: dict[str, Any] = {
        "ledger": end_of(record),
        "epsilon": record.epsilon(),
        "epsilon_rdp": largest(epsilon_rdp, *counted),
        "epsilon_prv": largest(epsilon_prv, *counted),
    }
    if math.isinf(figures["epsilon"]):  # means nothing
        return figures
    return figures | {"meaning": meaning_of(record, config, users).stated()}


def end_of(record: Record) -> dict[str, str | int]:
    """Name, number of entries and last hash: under a seal, none can be cut off unnoticed."""
    return {"file": record.name, "entries": len(record), "head": record.head}


def meaning_of(record: Record, config: ExperimentConfig, users: int) -> Meaning:
    """What the spent epsilon says; parameters as for `spent`."""
    promised = record.header.guarantee
    units = users * examples_per_user(config) if promised.unit == "example" else users
    return meaning(record.histories(), promised, units, groups_of(promised, config))


def groups_of(guarantee: Guarantee, config: ExperimentConfig) -> list[int]:
    """Groups that a reader asks for: a pair and a household, or all windows of a person."""
    sizes = {2, examples_per_user(config)} if guarantee.unit == "example" else {2, 4}
    return sorted(size for size in sizes if size > guarantee.group)
