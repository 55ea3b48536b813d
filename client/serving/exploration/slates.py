"""Slates filled from the top down, and the propensity of every place.

Given the items S above it and the open items O, a place p takes item i with the chance

    mu(i | S)                             i in O without S

that an exploration policy gives; it is what is logged as `propensity` of (item, position p). Their
product down to a place is the propensity of that part of the slate. All functions here take any
number of slates at once, in leading dimensions [...].

References
----------
Strehl, Langford, Li, Kakade 2010, Learning from Logged Implicit Exploration Data.
Richardson, Dominowska, Ragno 2007, Predicting Clicks (position bias).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]
Chances = Callable[[Mask], Array]
"""Of the items that are left, bool [..., items], the chance that each takes the next place; 0 for
those that are not, and one in all, float64 [..., items]."""


class Best:
    """Of the items left the one with the largest score, always: the chances of a ranking.

    Parameters
    ----------
    scores : float [..., items]
    """

    def __init__(self, scores: Array) -> None:
        self.scores = scores

    def __call__(self, left: Mask) -> Array:
        """See `Chances`."""
        masked = np.where(left, self.scores, -np.inf)
        found = np.zeros(masked.shape)
        np.put_along_axis(found, masked.argmax(-1)[..., None], 1.0, -1)
        return found

    def top(self, left: Mask, size: int) -> NDArray[np.int64]:
        """What is drawn in so many places, int64 [..., size]: without a step for each."""
        import torch  # many times as fast as sorting here; devices have it for their model

        masked = np.where(left, self.scores, self.scores.dtype.type(-np.inf))
        found: NDArray[np.int64] = torch.topk(torch.from_numpy(masked), size).indices.numpy()
        return found


class Ensemble:
    """Of M draws one, chosen anew for each place, says which item is best; with a floor, any item.

        mu(i | L) = (1 - f) (1/M) #{k : i = best(theta_k)} + f / |L|

    Parameters
    ----------
    draws : float [..., M, items]
    floor : float
        f in [0, 1].
    """

    def __init__(self, draws: Array, floor: float) -> None:
        self.draws, self.floor = draws, floor

    def __call__(self, left: Mask) -> Array:
        """See `Chances`."""
        masked = np.where(left[..., None, :], self.draws, -np.inf)
        best = masked.argmax(-1)  # [..., M]
        found: Array = self.floor * (left / left.sum(-1, keepdims=True))
        share = (1 - self.floor) / best.shape[-1]
        for one in range(best.shape[-1]):
            at = best[..., one, None]
            np.put_along_axis(found, at, np.take_along_axis(found, at, -1) + share, -1)
        return found

    def fill(
        self, left: Mask, size: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], Array]:
        """What `draw` gives, of the same law, from the `size` best items of each draw alone."""
        import torch

        draws = np.where(left[..., None, :], self.draws, self.draws.dtype.type(-np.inf))
        tops = torch.topk(torch.from_numpy(draws), size).indices.numpy()  # [..., M, size]
        shape, many = left.shape[:-1], tops.shape[-2]
        items, found = np.empty((*shape, size), np.int64), np.empty((*shape, size))
        for place in range(size):
            open_tops = np.take_along_axis(left[..., None, :], tops, -1)
            first = open_tops.argmax(-1)[..., None]
            best = np.take_along_axis(tops, first, -1)[..., 0]  # [..., M]
            one = rng.integers(many, size=shape)[..., None]
            item = np.take_along_axis(best, one, -1)[..., 0]
            anything, dice = rng.random(shape) < self.floor, rng.random(shape)
            rows = left[anything].cumsum(-1)  # of the few that explore beyond the draws
            ranks = np.floor(dice[anything] * rows[..., -1])
            item[anything] = (rows <= ranks[..., None]).sum(-1)
            items[..., place] = item
            share = (best == item[..., None]).mean(-1)
            found[..., place] = (1 - self.floor) * share + self.floor / left.sum(-1)
            np.put_along_axis(left, item[..., None], False, -1)
        return items, found


def draw(
    chances: Chances, open_items: Mask, size: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Array]:
    """Slates of `size` items, none twice, and the propensities of their places.

    Parameters
    ----------
    chances : callable
        See `Chances`.
    open_items : bool [..., items]
        What may be shown; at least `size` of each slate.
    size : int
        Places, >= 1.
    rng : Generator
        Numbers are drawn for each place, top down; none where nothing is left to chance.

    Returns
    -------
    items : int64 [..., size]
    propensities : float64 [..., size]
        mu(item | items above), in (0, 1].

    Raises
    ------
    ConfigError
        If there are fewer open items than places.
    """
    left = open_items.copy()
    shape = left.shape[:-1]
    least = int(left.sum(-1).min()) if left.size else 0
    if not 1 <= size <= least:
        raise ConfigError(f"slate of {size} places: expected 1 to {least}, the items that are open")
    if isinstance(chances, Best):
        return chances.top(left, size), np.ones((*shape, size))
    if isinstance(chances, Ensemble):
        return chances.fill(left, size, rng)
    items, found = np.empty((*shape, size), np.int64), np.empty((*shape, size))
    for place in range(size):
        given = chances(left)
        cumulative = given.cumsum(-1)
        # In (0, 1], so that an item of chance zero is never drawn.
        at = (1.0 - rng.random(shape)) * cumulative[..., -1]
        item = (cumulative < at[..., None]).sum(-1)[..., None]
        items[..., place] = item[..., 0]
        found[..., place] = np.take_along_axis(given, item, -1)[..., 0]
        np.put_along_axis(left, item, False, -1)
    return items, found


def propensities(chances: Chances, items: NDArray[np.int64], open_items: Mask) -> Array:
    """What a policy would have given each place of a slate, given the items above, [..., size]."""
    left = np.broadcast_to(open_items, (*items.shape[:-1], open_items.shape[-1])).copy()
    found = np.empty(items.shape)
    for place in range(items.shape[-1]):
        item = items[..., place, None]
        found[..., place] = np.take_along_axis(chances(left), item, -1)[..., 0]
        np.put_along_axis(left, item, False, -1)
    return found


def examination(places: int, eta: float) -> Array:
    """Chance that each place is looked at, (1 + p)^-eta, [places]."""
    return np.asarray((1.0 + np.arange(places)) ** -eta)
