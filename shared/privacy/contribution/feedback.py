"""How items that were shown were answered: what one person contributes on one day.

    N_i = sum of e_p^2,   S_i = sum of e_p (reward - what the device itself expected)
    c_u = clip([w N, S] / R),     R^2 = w^2 sum of e_p^4 + 1/2 sum of e_p^2

over the places p of the day's slate, looked at with chance e_p, that showed item i; w = 1/2, as the
estimate S / N is hurt less by noise in N. R is public: about as long as a contribution is, so that
few are clipped. Whatever is answered, nobody's contribution is longer than one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.privacy.contribution.clipping import L2Clip

# One person's day has length one at most: all of the sensitivity, whatever they answered.
FEEDBACK_CLIP = L2Clip(1.0)

_COUNT = 0.5  # w


def feedback_scale(looked_at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What N and S are divided by, R / w and R, float64 [2].

    Parameters
    ----------
    looked_at : float64 [places]
        e_p in [0, 1]; the first is above 0.
    """
    square = looked_at**2
    scale = float(np.sqrt(_COUNT**2 * (square**2).sum() + square.sum() / 2))
    return np.array([scale / _COUNT, scale])


def user_feedback(
    own: npt.NDArray[np.float32], looked_at: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Contributions of L2 norm at most 1.

    Parameters
    ----------
    own : float32 [people, 2, items]
        N and S of each person; items for which both are 0 may be left out.
    looked_at : float64 [places]

    Returns
    -------
    float32 [people, 2 items]
    """
    import torch  # where something is clipped, not where plans ask for the sensitivity

    scaled = own / feedback_scale(looked_at)[:, None].astype(np.float32)
    flat = torch.from_numpy(scaled.reshape(len(own), -1))
    clipped: npt.NDArray[np.float32] = FEEDBACK_CLIP(flat).numpy()
    return clipped


def feedback_sums(
    released: npt.NDArray[np.float64], looked_at: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The sums N and S, float64 [2, items], that a released sum [2 items] stands for."""
    return np.asarray(released.reshape(2, -1) * feedback_scale(looked_at)[:, None])
