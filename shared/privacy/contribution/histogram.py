"""The popularity histogram: what a user contributes, and what its release becomes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.data.split import training_history
from shared.data.windows import Windows
from shared.privacy.contribution.clipping import L2Clip

# One user's share has length one however long the history is: all of the sensitivity, always.
HISTOGRAM_CLIP = L2Clip(1.0)

# Of the terms of the bias, learned with the weights of the affinities (`benchmarks/prior.py`).
WEIGHTS = (0.35, 0.4)


def histogram_schema(items: int) -> str:
    """The schema of a histogram over a catalogue of this size."""
    return f"histogram:{items}"


def bounded_histogram(share: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A share of the popularity histogram, float32 [items], cut to L2 norm 1."""
    import torch  # where something is clipped, not where plans ask for the sensitivity

    clipped: npt.NDArray[np.float32] = HISTOGRAM_CLIP(torch.from_numpy(share)).numpy()
    return clipped


def user_histogram(history: npt.NDArray[np.int64], items: int) -> npt.NDArray[np.float32]:
    """One user's share of the popularity histogram, float32 [items], of L2 norm 1 (or 0).

    Every training item of the user weighs 1/sqrt(n): under one L2 clip this spends all of the
    sensitivity, however long the history is.
    """
    counts = np.zeros(items, dtype=np.float32)
    mine = training_history(history)
    if len(mine):
        counts[mine] = len(mine) ** -0.5
    return bounded_histogram(counts)


def example_histogram(cut: Windows, items: int) -> npt.NDArray[np.float32]:
    """The popularity histogram of one client, float32 [items], every window of L2 norm at most 1.

    Each window's targets weigh 1/sqrt(n) for its n targets; one window more or less moves the sum
    by at most one.
    """
    total = np.zeros(items, dtype=np.float32)
    for targets in cut.targets:
        mine = targets[targets >= 0]
        counts = np.zeros(items, dtype=np.float32)
        np.add.at(counts, mine, len(mine) ** -0.5 if len(mine) else 0.0)
        total += bounded_histogram(counts)
    return total


def popularity_bias(
    counts: npt.NDArray[np.float64], noise_multiplier: float, strength: float
) -> npt.NDArray[np.float64]:
    """Item bias from a released histogram: post-processing, free under privacy.

        l_i = log((max(c_i, 0) + kappa) / mean),  kappa = 1 + z
        b = strength (w_1 std(rank of l) + w_2 std(max(l, 0)))

    Counts below the noise look alike. Each term has mean 0 and standard deviation 1 over the
    catalogue, so that a histogram never outweighs the rest of a score because a catalogue is large
    or sparse.

    Parameters
    ----------
    counts : float64 [items]
        The noised sum of shares.
    noise_multiplier : float
        z >= 0, of that release.
    strength : float
        >= 0.

    Returns
    -------
    float64 [items]
    """
    terms = popularity_terms(counts, noise_multiplier)
    bias: npt.NDArray[np.float64] = strength * (WEIGHTS[0] * terms[0] + WEIGHTS[1] * terms[1])
    return bias


def popularity_terms(
    counts: npt.NDArray[np.float64], noise_multiplier: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The terms that `WEIGHTS` weigh, float64 [items] each; parameters as of `popularity_bias`."""
    smoothed = np.maximum(counts, 0) + 1 + noise_multiplier
    logarithm = np.log(smoothed / smoothed.mean())
    # Equal counts, equal ranks: in whatever order they were summed.
    _, group = np.unique(logarithm.round(6), return_inverse=True)
    ranks = (np.cumsum(np.bincount(group)) - np.bincount(group) / 2)[group]
    return _standardised(ranks), _standardised(np.maximum(logarithm, 0))


def _standardised(term: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    centred: npt.NDArray[np.float64] = term - term.mean()
    return centred / max(float(centred.std()), 1e-9)
