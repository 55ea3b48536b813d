"""Where a held-out item ranks for one user, among sampled negatives and in the whole catalogue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.data.split import Case, sample_negatives
from shared.metrics import rank_of_target

Indices = npt.NDArray[np.int64]


# One fixed set of negatives per user, whatever a run's seed: seeds differ in training alone.
NEGATIVES_SEED = 0


def target_ranks(
    scores: npt.NDArray[np.floating], history: Indices, case: Case, negatives: int, key: int
) -> tuple[int, int]:
    """Ranks of the target, 0-based, by the tie rule of `shared.metrics.rank_of_target`.

    Parameters
    ----------
    scores : float [items]
    history : int64 [n]
        The whole history: what negatives must avoid.
    case : Case
    negatives : int
        How many are sampled.
    key : int
        The person's: chooses the negatives, with nothing else that is random.

    Returns
    -------
    sampled, full : int
        Among `negatives` sampled items; among all items that the context does not hold.
    """
    drawn = sample_negatives(history, len(scores), negatives, NEGATIVES_SEED, key)
    others = np.ones(len(scores), dtype=bool)
    others[case.context] = False
    others[case.target] = False
    return (
        _rank(scores, case.target, drawn),
        _rank(scores, case.target, np.flatnonzero(others)),
    )


def _rank(scores: npt.NDArray[np.floating], target: int, others: Indices) -> int:
    candidates = np.concatenate(([target], others))  # the target in column 0
    return int(rank_of_target(scores[None, candidates])[0])
