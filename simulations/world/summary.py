"""What happened in a synthetic world whose settings let more happen than free choice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulations.world.world import World


@dataclass(frozen=True)
class WorldSummary:
    """A deep world in numbers.

    Attributes
    ----------
    items_arriving : int
        Items that were not there from the start.
    scenario_shares : tuple of float
        Of the interactions, by scenario; sums to 1 unless nobody did anything.
    slates : int or None
        How many were shown; None where people choose freely.
    clicked, click_probability : tuple of float
        By place: the share that was clicked, and the mean of the known chances. Empty without
        slates.
    least_propensity : float or None
        The smallest logged: its inverse bounds an importance weight.
    """

    items_arriving: int
    scenario_shares: tuple[float, ...]
    slates: int | None
    clicked: tuple[float, ...]
    click_probability: tuple[float, ...]
    least_propensity: float | None


def summarise_world(world: World) -> WorldSummary:
    """Go through everybody once."""
    size = world.settings.slate
    scenarios = np.zeros(world.settings.scenarios)
    slates, least = 0, 1.0
    clicked, chances = np.zeros(size), np.zeros(size)
    for user in range(len(world)):
        if size:
            shown = world.slates(user)
            slates += len(shown.items)
            clicked += shown.clicks.sum(0)
            chances += shown.click_probabilities.sum(0)
            least = min(least, float(shown.propensities.min()))
        met = shown.interactions if size else world.interactions_of(user)
        scenarios += np.bincount(met.scenarios, minlength=len(scenarios))
    return WorldSummary(
        items_arriving=int((world.arrivals > 0).sum()),
        scenario_shares=tuple((scenarios / max(scenarios.sum(), 1)).tolist()),
        slates=slates if size else None,
        clicked=tuple((clicked / max(slates, 1)).tolist()),
        click_probability=tuple((chances / max(slates, 1)).tolist()),
        least_propensity=least if size else None,
    )
