"""Noise that came in shares: what is claimed of it against the grid that the settings give."""

from __future__ import annotations

import math
from typing import Any

from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.privacy.accounting.events import SkellamDpEvent, event_from_json
from shared.privacy.accounting.steps import steps_of
from shared.privacy.plan.shared_noise import update_sum
from shared.privacy.plan.terms import Terms
from simulations.verify.claims import number

_SAME = 1e-9  # figures that follow from each other by one root
_NUMBERS = {"update": "noise_multiplier", "histogram": "histogram_noise_multiplier"}


def share_reasons(
    claim: dict[str, Any], config: ExperimentConfig, users: int, terms: Terms
) -> list[str]:
    """Where the claimed events are not of Skellam noise on the settings' grid.

    Parameters
    ----------
    claim : dict
        A guarantee of trust `distributed`.
    config : ExperimentConfig
        Of the point.
    users : int
    terms : Terms
        What the settings give.
    """
    grid = update_sum(config, users).grid  # as fine for every kind of release
    reasons = []
    for kind in terms.times:
        try:
            event = event_from_json(claim["releases"][kind]["event"])
            steps_of([(event, 1)])  # else there may be no root of it, and no ratio
        except (ConfigError, KeyError, TypeError):
            event = None
        if not isinstance(event, SkellamDpEvent):
            reasons.append(
                f"{kind}: no Skellam noise that an accountant covers; the settings' trust needs it"
            )
            continue
        moved = (event.l2_sensitivity, event.l1_sensitivity)
        if moved != (grid.l2_sensitivity, grid.l1_sensitivity):
            reasons.append(
                f"{kind}: sensitivities {moved[0]:g} and {moved[1]:g} claimed, the settings' grid "
                f"gives {grid.l2_sensitivity} and {grid.l1_sensitivity}"
            )
        stated, shown = number(claim, _NUMBERS[kind]), math.sqrt(event.variance) / moved[0]
        if not math.isclose(stated, shown, rel_tol=_SAME):
            reasons.append(f"{_NUMBERS[kind]} = {stated:g} claimed, the event has {shown:g}")
    return reasons
