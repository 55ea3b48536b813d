"""A model of clicks: shrunken rates of items at places, fitted on other people than it is used on.

    q(a, p) = (c_ap + m q(a) r_p / r) / (n_ap + m),   q(a) = (c_a + m r) / (n_a + m),   m = 1 / r

with c clicks and n showings of item a at place p, r the rate of all and r_p that of a place: a rate
that few showings tell is that of its item and place, as strongly as one click speaks. People are in
`FOLDS` folds; whoever is in one is modelled on the others, so that nobody's own noise is in the
model that corrects it (cross-fitting: Chernozhukov et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

FOLDS = 5


def folds_of(people: int, rng: np.random.Generator) -> Indices:
    """The fold of everyone, in [0, min(FOLDS, people)), [people]; of equal sizes but one."""
    return np.asarray(rng.permutation(people) % min(FOLDS, people), dtype=np.int64)


@dataclass(frozen=True)
class Cells:
    """Where each row counts: its fold, item and place.

    Attributes
    ----------
    folds, items, places : int64 [n]
    shape : (folds, items, places)
    """

    folds: Indices
    items: Indices
    places: Indices
    shape: tuple[int, int, int]

    @cached_property
    def _flat(self) -> Indices:
        return np.ravel_multi_index((self.folds, self.items, self.places), self.shape)

    def sums(self, values: Floats) -> Floats:
        """Of a value [n] over the rows of each cell, [folds, items, places]."""
        found = np.bincount(self._flat, values, int(np.prod(self.shape)))
        return found.reshape(self.shape).astype(np.float64, copy=False)

    def others(self, values: Floats) -> Floats:
        """The same over the rows of all other folds."""
        sums = self.sums(values)
        return np.asarray(sums.sum(axis=0) - sums if len(sums) > 1 else sums)


def rates(clicks: Floats, shown: Floats) -> Floats:
    """q of each fold, [folds, items, places], from sums of the same shape over the other folds.

    Where nothing was clicked it is 0.
    """
    of_all = _ratio(clicks.sum(axis=(1, 2), keepdims=True), shown.sum(axis=(1, 2), keepdims=True))
    of_place = _ratio(clicks.sum(axis=1, keepdims=True), shown.sum(axis=1, keepdims=True))
    worth = 1 / np.where(of_all > 0, of_all, 1)
    by_item = clicks.sum(axis=2, keepdims=True), shown.sum(axis=2, keepdims=True)
    of_item = (by_item[0] + worth * of_all) / (by_item[1] + worth)
    prior = np.minimum(1.0, of_item * _ratio(of_place, of_all))
    return np.asarray((clicks + worth * prior) / (shown + worth))


def _ratio(top: Floats, below: Floats) -> Floats:
    """0 where nothing is below."""
    return np.asarray(np.where(below > 0, top / np.where(below > 0, below, 1), 0))
