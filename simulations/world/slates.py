"""What a person was shown and did: slates of a logging policy, with all chances known.

The logging policy fills the places of a slate one after the other. Given the items S above, among
the open ones O (there already, not clicked before),

    mu(i | S) = (1 - e) softmax(popularity / T over O without S)_i + e / (|O| - |S|)

with temperature T and exploration e. It knows nothing of the person. The chance that place p is
looked at, and that an item that is looked at is clicked, are independent of everything else:

    P(click) = (1 + p)^-eta . attraction(i | person, clicks before the slate, time, scenario)

which is the position-based model. A policy nu of the same form therefore has the value
E_mu[ prod over q <= p of nu(i_q | S_q) / mu(i_q | S_q) . click_p ] at place p: the propensity of
a place is that of its item given the items above, and their product is that of the whole slate.

References
----------
Richardson, Dominowska and Ragno 2007, Predicting Clicks (position bias).
Strehl et al. 2010, Learning from Logged Implicit Exploration Data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.serving.exploration.slates import draw, examination, propensities

__all__ = ["FREE", "Interactions", "SlatePolicy", "Slates", "examination"]

FREE = -1  # the position of an item that was chosen freely, from no slate


@dataclass(frozen=True)
class Interactions:
    """The items of one person, oldest first; all arrays have length n.

    Attributes
    ----------
    items : int64 [n]
        Distinct.
    times : int64 [n]
        Seconds since the start of the world's year, not falling.
    scenarios : int64 [n]
        Index into `people.SCENARIOS`.
    positions : int64 [n]
        Place in the slate, from 0; `FREE` in a world without slates.
    """

    items: NDArray[np.int64]
    times: NDArray[np.int64]
    scenarios: NDArray[np.int64]
    positions: NDArray[np.int64]


@dataclass(frozen=True)
class Slates:
    """All that one person was shown, oldest first: n slates of k places.

    Attributes
    ----------
    items : int64 [n, k]
    propensities : float64 [n, k]
        mu(item | items above it in the slate), in (0, 1].
    click_probabilities : float64 [n, k]
        The true ones, in [0, 1].
    clicks : bool [n, k]
    times, scenarios : int64 [n]
    """

    items: NDArray[np.int64]
    propensities: NDArray[np.float64]
    click_probabilities: NDArray[np.float64]
    clicks: NDArray[np.bool_]
    times: NDArray[np.int64]
    scenarios: NDArray[np.int64]

    @property
    def interactions(self) -> Interactions:
        """The clicks; those of one slate from the top down."""
        slate, place = np.nonzero(self.clicks)
        return Interactions(
            self.items[slate, place],
            self.times[slate],
            self.scenarios[slate],
            place.astype(np.int64),
        )


class SlatePolicy:
    """Softmax of popularity mixed with uniform choice, without replacement.

    Parameters
    ----------
    popularity : float64 [items]
        Logarithms.
    temperature : float
        T > 0; large: nearly uniform.
    exploration : float
        e in [0, 1], the weight of the uniform part.
    """

    def __init__(
        self, popularity: NDArray[np.float64], temperature: float, exploration: float
    ) -> None:
        self._weights = np.exp((popularity - popularity.max()) / temperature)
        self._exploration = exploration

    def chances(self, open_items: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Of each item to take the next place; 0 for items that are not open, [items]."""
        weights = self._weights * open_items
        uniform = open_items / open_items.sum()
        mixed = (1 - self._exploration) * weights / weights.sum() + self._exploration * uniform
        return np.asarray(mixed)

    def draw(
        self, open_items: NDArray[np.bool_], size: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """A slate of `size` items and their propensities, both [size]."""
        return draw(self.chances, open_items, size, rng)

    def propensities(
        self, items: NDArray[np.int64], open_items: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """What this policy would have given each place of a slate, given the items above, [k]."""
        return propensities(self.chances, items, open_items)
