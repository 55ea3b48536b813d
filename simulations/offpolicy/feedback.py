"""A log of what a policy showed, with which chance, and what was clicked.

Every row is an item at a place. Where a log names slates, the places of one were filled from the
top, and a propensity is that of the item given the items above it (`simulations.world.slates`);
where it names none, every row is a choice of its own. What could not be shown is no candidate:
items above in the slate, items that arrive later, and, if a log never shows a person what they
clicked before, those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_ROWS = 4096  # looked at together


@dataclass(frozen=True)
class LoggedFeedback:
    """What was shown, sorted by person, time, slate and place; arrays of length n.

    Attributes
    ----------
    name : str
    item_ids : tuple of str
        All that could be shown.
    items : int64 [n]
        Index into `item_ids`.
    places : int64 [n]
        Index into `place_names`.
    place_names : tuple of int
        As the log numbers them.
    rewards : float64 [n]
        In [0, 1].
    propensities : float64 [n]
        In (0, 1].
    people : int64 [n]
        Whose row it is, from 0; where the log names nobody, everybody's own.
    slates : int64 [n]
        Not falling; equal for rows that were chosen together.
    times : int64 [n]
        In any unit; equal within a slate.
    arrivals : int64 [items]
        From which time on each item could be shown, in the same unit.
    clicked_is_gone : bool
        Nobody is shown again what they clicked.
    """

    name: str
    item_ids: tuple[str, ...]
    items: Indices
    places: Indices
    place_names: tuple[int, ...]
    rewards: Floats
    propensities: Floats
    people: Indices
    slates: Indices
    times: Indices
    arrivals: Indices
    clicked_is_gone: bool

    def __len__(self) -> int:
        return len(self.items)

    @property
    def choices(self) -> Iterator[tuple[slice, NDArray[np.bool_]]]:
        """Stretches of rows and which items were open to each, bool [m, items]."""
        alone = not self.clicked_is_gone and len(np.unique(self.slates)) == len(self)
        for rows in self._stretches() if alone else stretches(self.people):
            there = self.arrivals <= self.times[rows, None]
            yield rows, there if alone else there & self._open(rows)

    def _stretches(self) -> Iterator[slice]:
        for start in range(0, len(self), _ROWS):
            yield slice(start, min(start + _ROWS, len(self)))

    def _open(self, rows: slice) -> NDArray[np.bool_]:
        """What is neither above nor clicked before, of the rows of one person, [m, items]."""
        shown = np.zeros((rows.stop - rows.start, len(self.item_ids)), dtype=np.int64)
        shown[np.arange(len(shown)), self.items[rows]] = 1
        above, first = _before(shown), _first(self.slates[rows])
        taken = above - above[first]
        if self.clicked_is_gone:
            taken = taken + _before(shown * (self.rewards[rows] > 0)[:, None])[first]
        return np.asarray(taken == 0)

    def clicked_before(self, rows: slice) -> list[Indices]:
        """Of rows of one person, what had been clicked before the row's slate, oldest first."""
        clicks = np.flatnonzero(self.rewards[rows] > 0)
        counts = np.searchsorted(clicks, _first(self.slates[rows]))
        items = self.items[rows][clicks]
        return [items[:count] for count in counts]


def stretches(values: Indices) -> Iterator[slice]:
    """Where equal neighbours stand."""
    ends = [*(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    for start, stop in zip([0, *ends], ends, strict=False):
        yield slice(start, stop)


def _before(rows: Indices) -> Indices:
    """Sums of the rows above each, of the same shape."""
    return np.asarray(np.cumsum(rows, axis=0) - rows)


def _first(groups: Indices) -> Indices:
    """Where the group of each starts, groups being sorted."""
    return np.asarray(np.searchsorted(groups, groups, side="left"))
