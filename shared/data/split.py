"""Leave-one-out by time: the last interaction tests, the one before validates, the rest train.

A user with fewer than three interactions only trains: nothing of theirs is held out, and no case
of theirs is evaluated. Nor is one of a user who met every item: nothing competes with theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Phase = Literal["validation", "test"]  # which held-out item

MIN_EVALUATED = 3  # interactions: one to train on, one to validate, one to test

# Keeps the stream of negatives apart from every other stream seeded with (seed, key).
_NEGATIVES = 0x6E656761


@dataclass(frozen=True)
class Case:
    """One question to a recommender: which item follows this context?

    Attributes
    ----------
    context : int64 [n], n >= 1
        Item indices, oldest first.
    target : int
        The item index that did follow.
    """

    context: NDArray[np.int64]
    target: int


def training_history(history: NDArray[np.int64]) -> NDArray[np.int64]:
    """What a user's device may train on, int64: all but the last two interactions.

    Examples
    --------
    >>> training_history(np.array([4, 7, 1, 3])).tolist()
    [4, 7]
    >>> training_history(np.array([4, 7])).tolist()
    [4, 7]
    """
    return history[:-2] if len(history) >= MIN_EVALUATED else history


def is_evaluated(interactions: int, items: int) -> bool:
    """Whether a user of so many interactions is asked about a held-out item of a catalogue.

    Only with a history that is long enough, and an item they never met: no history holds one twice.
    """
    return MIN_EVALUATED <= interactions < items


def held_out(history: NDArray[np.int64], phase: Phase, items: int) -> Case | None:
    """What a phase asks, of everything before it; None of a user who is not evaluated.

    The last interaction tests, the one before it validates.
    """
    if not is_evaluated(len(history), items):
        return None
    place = -2 if phase == "validation" else -1
    return Case(history[:place], int(history[place]))


def sample_negatives(
    history: NDArray[np.int64], items: int, count: int, seed: int, key: int
) -> NDArray[np.int64]:
    """Items the user never met, uniformly without replacement.

    Depends on nothing random but (seed, key), so that every engine, model and process ranks the
    target against the same items, and nobody else's data have a say in which.

    Parameters
    ----------
    history : int64 [n]
        The *whole* history: a held-out interaction is no negative either.
    items : int
        Size of the catalogue; history lies in [0, items).
    count : int
        How many, >= 0.
    seed : int
        >= 0.
    key : int
        The person's, >= 0; see `shared.data.population`.

    Returns
    -------
    int64 [min(count, items the user never met)]
    """
    unseen = np.ones(items, dtype=bool)
    unseen[history] = False
    available = np.flatnonzero(unseen)
    rng = np.random.default_rng((_NEGATIVES, seed, key))
    chosen = rng.choice(available, min(count, len(available)), replace=False, shuffle=False)
    return chosen.astype(np.int64, copy=False)
