"""The popularity histogram: what a user contributes, and what its release becomes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.privacy.clipping import L2Clip

# One user's share has length one however long the history is: all of the sensitivity, always.
HISTOGRAM_CLIP = L2Clip(1.0)


def histogram_schema(items: int) -> str:
    """The schema of a histogram over a catalogue of this size."""
    return f"histogram:{items}"


def popularity_bias(
    counts: npt.NDArray[np.float64], noise_multiplier: float, strength: float
) -> npt.NDArray[np.float64]:
    """Item bias from a released histogram: post-processing, free under privacy.

        b_i = strength log((max(c_i, 0) + kappa) / mean),  kappa = 1 + z

    Counts below the noise look alike.

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
    smoothed = np.maximum(counts, 0) + 1 + noise_multiplier
    bias: npt.NDArray[np.float64] = strength * np.log(smoothed / smoothed.mean())
    return bias
