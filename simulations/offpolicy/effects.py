"""What showing an item does: the clicks that it gets where it is looked at first, whoever sees it.

Clicks of an item say how often it was shown, and its click rate at which places, to whom and when.
Under the position-based model, in which whether a place is looked at and whether an item then
attracts are independent,

    E[r | item i at place p, context x] = e_p a_i(x),   e_first = 1

the effect of item i is a_i = E_x[a_i(x)] over all contexts in which it could be shown. A row is
chosen with the chance mu(i | x, S), and 1 / mu gives back what it stands for:

    a_i = sum over rows of i of r / mu  /  sum over rows of i of e_p / mu
    e_p = sum over rows at p of r / mu  /  sum over rows at p of a_i / mu

the first self-normalised as SNIPS is, both in turn until they agree (Wang et al. 2018, Position
Bias Estimation for Unbiased Learning to Rank). With one place it is each item's SNIPS value. At the
end an effect is shrunk towards that of all items, as strongly as one click of them speaks: of an
item that was shown twice nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shared.errors import DataError
from simulations.offpolicy.feedback import Floats, Indices, LoggedFeedback

DRAWS = 500
_PASSES = 50
_EFFECTS = 0x65666665  # a stream of randomness of its own


@dataclass(frozen=True)
class Effects:
    """By item, in the order of the log's `item_ids`.

    Attributes
    ----------
    effects, low, high : float64 [items]
        Clicks where an item is looked at first, and a 95% interval: a bootstrap over people.
        Those of an item that was never shown are those of all.
    rates : float64 [items]
        Clicks over showings, of no correction; nan where there are none.
    shown : int64 [items]
    looked_at : float64 [places]
        e_p: how likely a place is looked at, of the first one.
    """

    effects: Floats
    low: Floats
    high: Floats
    rates: Floats
    shown: Indices
    looked_at: Floats


def item_effects(log: LoggedFeedback, seed: int = 0) -> Effects:
    """The effect of every item.

    Raises
    ------
    DataError
        If the first place of the log has no click: nothing says how likely others are looked at;
        or if the log is of one person alone.
    """
    if int(log.people.max()) < 1:
        raise DataError(f"{log.name}: is of one person; an interval over people needs more")
    weights = 1 / log.propensities
    if not (log.rewards[log.places == 0] > 0).any():
        raise DataError(f"{log.name}: nothing is clicked at place {log.place_names[0]}")
    looked_at, count = np.ones(len(log.place_names)), len(log.item_ids)
    for _ in range(_PASSES):
        effects = _ratio(log.items, weights * log.rewards, weights * looked_at[log.places], count)
        known = weights * np.nan_to_num(effects)[log.items]
        looked_at = _ratio(log.places, weights * log.rewards, known, len(looked_at))
        looked_at = np.nan_to_num(looked_at / looked_at[0])  # no item with a click stood there
    seen = weights * looked_at[log.places]
    ones = np.ones(len(log))
    low, high = np.percentile(list(_drawn(log, weights, seen, seed)), (2.5, 97.5), axis=0)
    return Effects(
        _shrunk(log, weights, seen, ones),
        low,
        high,
        _ratio(log.items, log.rewards, ones, count),
        np.bincount(log.items, minlength=count),
        looked_at,
    )


def _ratio(groups: Indices, top: Floats, below: Floats, count: int) -> Floats:
    """sum / sum in each group, [count]; nan where nothing is below."""
    tops, belows = np.bincount(groups, top, count), np.bincount(groups, below, count)
    return np.asarray(np.where(belows > 0, tops / np.where(belows > 0, belows, 1), np.nan))


def _shrunk(log: LoggedFeedback, weights: Floats, seen: Floats, times: Floats) -> Floats:
    """Effects [items] of rows that count so many times each."""
    count = len(log.item_ids)
    of_all = float((weights * times) @ log.rewards / (seen @ times))
    worth = float(seen @ times) / times.sum() / of_all if of_all else 1.0
    tops = np.bincount(log.items, weights * times * log.rewards, count) + worth * of_all
    return np.asarray(tops / (np.bincount(log.items, seen * times, count) + worth))


def _drawn(log: LoggedFeedback, weights: Floats, seen: Floats, seed: int) -> Iterator[Floats]:
    """Effects of people drawn with replacement; places are looked at as they were found."""
    rng = np.random.default_rng((_EFFECTS, seed))
    people = int(log.people.max()) + 1
    for _ in range(DRAWS):
        times = np.bincount(rng.integers(people, size=people), minlength=people)[log.people]
        yield _shrunk(log, weights, seen, times.astype(float))
