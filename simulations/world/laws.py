"""What holds in a synthetic world for everybody: its items, their appeal, scenarios, arrivals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shared.config import WorldConfig
from simulations.world.items import GENRES, HIDDEN, MOODS, SETTINGS, THEMES, draw_items
from simulations.world.people import YEAR, Person

# Keep random streams of one seed apart.
_ITEMS, _ARRIVALS, _SCENARIOS = 0x6974656D, 0x61727269, 0x7363656E

# The difficulty. Fixed before any model was tuned on the world; see docs/data.md for what it gives.
_ZIPF = 0.9
_TASTE = {"genre": 0.7, "theme": 0.5, "mood": 0.3, "setting": 0.3, "hidden": 0.7}  # sd
_PULL = {"genre": 1.0, "theme": 0.8, "mood": 0.0, "setting": 1.0, "hidden": 1.2}
_FOLLOW = 2.0  # pull towards the theme that tends to follow
_DECAY = 0.6
_OFFSET = 1.0  # log-odds that an item is clicked, at utility 0, once it is looked at

Utilities = Callable[[int, int], NDArray[np.float64]]  # of time and scenario: [items]


class Laws:
    """The items of a world and what makes a person want them.

    Parameters
    ----------
    items : int
        At least 20.
    seed : int
        At least 0.
    settings : WorldConfig

    Attributes
    ----------
    catalogue : Catalogue
    appeal : float64 [items]
        Logarithm of how attractive an item is to everybody.
    features, pull : float64 [items, features]
        What an item is, and what having met it makes a person want.
    taste_sd : float64 [features]
        Of people's tastes.
    arrivals : int64 [items]
        When each item appears, in seconds of the year; most at 0.
    """

    def __init__(self, items: int, seed: int, settings: WorldConfig) -> None:
        self._settings = settings
        rng = np.random.default_rng((_ITEMS, seed))
        drawn = draw_items(items, rng, _ZIPF)
        self.catalogue, self.appeal = drawn.catalogue, drawn.popularity
        self.features = np.concatenate([drawn.visible, drawn.hidden], axis=1)  # [items, features]
        self.pull = self.features * _per_feature(_PULL)  # [items, features]
        following = rng.permutation(len(THEMES))
        themes = slice(len(GENRES), len(GENRES) + len(THEMES))
        self.pull[:, themes][:, following] += _FOLLOW * self.features[:, themes]
        self.taste_sd = _per_feature(_TASTE)
        self.arrivals = _arrivals(items, settings.arrivals, seed)
        self._lean = self._scenarios(seed)  # [scenarios, items]

    def _scenarios(self, seed: int) -> NDArray[np.float64]:
        """What each scenario adds to an item's utility for everybody, [scenarios, items]."""
        count = self._settings.scenarios
        if count == 1:
            return np.zeros((1, len(self.catalogue)))
        rng = np.random.default_rng((_SCENARIOS, seed))
        tilt = self.taste_sd * rng.standard_normal((count, len(self.taste_sd)))
        return np.asarray(self._settings.contrast * tilt @ self.features.T)

    def utilities(self, person: Person) -> Utilities:
        """Of time and scenario: a person's utility of every item before any context."""
        now, drift = self.features @ person.taste, self._settings.drift
        if not drift:
            still = self.appeal + now + self._lean  # [scenarios, items]
            return lambda time, scenario: still[scenario].copy()
        later = self.features @ person.later

        def at(time: int, scenario: int) -> NDArray[np.float64]:
            cosine, sine = person.turn(drift, time)
            return np.asarray(self.appeal + cosine * now + sine * later + self._lean[scenario])

        return at

    @property
    def decay(self) -> float:
        """Of an interest that is left after one more item."""
        return _DECAY

    def interest(self, context: NDArray[np.int64]) -> NDArray[np.float64]:
        """What having met these items, oldest first, makes a person want, [features]."""
        interest = np.zeros(self.features.shape[1])
        for item in context:
            interest = self.after(interest, int(item))
        return interest

    def after(self, interest: NDArray[np.float64], item: int) -> NDArray[np.float64]:
        """The interest, [features], after one more item."""
        return np.asarray(_DECAY * interest + self.pull[item])

    def pulled(self, interest: NDArray[np.float64]) -> NDArray[np.float64]:
        """What an interest adds to the utility of every item, [items]."""
        return np.asarray(self.features @ interest)


def attraction(utility: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance that an item of some utility is clicked once it is looked at: logistic."""
    return np.asarray(1.0 / (1.0 + np.exp(-(_OFFSET + utility))))


def _arrivals(items: int, share: float, seed: int) -> NDArray[np.int64]:
    rng = np.random.default_rng((_ARRIVALS, seed))
    late = rng.permutation(items)[: int(share * items)]
    arrivals = np.zeros(items, dtype=np.int64)
    arrivals[late] = rng.integers(1, YEAR, size=len(late))
    return arrivals


def _per_feature(strengths: dict[str, float]) -> NDArray[np.float64]:
    """One strength per feature, in the order of the features."""
    sizes = {
        "genre": len(GENRES),
        "theme": len(THEMES),
        "mood": len(MOODS),
        "setting": len(SETTINGS),
        "hidden": HIDDEN,
    }
    return np.concatenate([np.full(size, strengths[group]) for group, size in sizes.items()])
