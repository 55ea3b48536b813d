"""What noised vectors say together of who is in them: log-odds, canary by canary.

Where each canary has a coordinate of its own, of size s under noise of deviation d, a vector v adds

    log(1 - q + q exp(x)),  x = (s v - s^2 / 2) / d^2

to its log-odds; q is the probability that who is in was asked. Canaries along any directions G
[m, dim] overlap, and are told apart by least squares with the variance 1/4 of a coin for a prior:

    V = (4 I + sum G G' / d^2)^-1,  b = V sum G (v - G' 1/2) / d^2,  log-odds b_i / V_ii

which is the same where they do not overlap.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

_PRIOR = 4.0  # one over the variance of a coin


class Tally:
    """Evidence on so many canaries, added up over vectors with independent noise.

    Parameters
    ----------
    canaries : int
        m.
    """

    def __init__(self, canaries: int) -> None:
        self._apart = np.zeros(canaries)
        self._precision = np.zeros((canaries, canaries))
        self._toward = np.zeros(canaries)
        self._overlap = False
        self.about = np.zeros(canaries, dtype=np.bool_)  # on whom there is any evidence

    def alone(
        self, values: Vector, size: float | Vector, deviation: float, share: float = 1.0
    ) -> None:
        """Add a vector in which every canary has a coordinate of its own.

        Parameters
        ----------
        values : float64 [m]
            Its numbers there.
        size : float, or float64 [m]
            What who is in and asked adds; 0 of who is not about.
        deviation : float
            Of its noise, > 0.
        share : float
            Probability in (0, 1] of being asked.
        """
        found = size * (values - size / 2) / deviation**2
        if share < 1:
            found = np.logaddexp(np.log1p(-share), np.log(share) + found)
        self._apart += found
        self.about |= np.asarray(size) != 0

    def along(self, rows: Vector, vector: Vector, deviation: float, share: float = 1.0) -> None:
        """Add a vector [dim] to which canaries add `rows` [m, dim] if they are in and asked.

        Parameters
        ----------
        rows : float64 [m, dim]
            Zeros of who is not about.
        vector : float64 [dim]
            Less what others are known to add.
        deviation, share : float
            As of `alone`; who may not have been asked counts as if they had sent that share.
        """
        expected = share * rows
        self._overlap = True
        self.about |= (rows != 0).any(1)
        self._precision += expected @ expected.T / deviation**2
        self._toward += expected @ (vector - expected.sum(0) / 2) / deviation**2

    def scores(self) -> Vector:
        """Log-odds of each being in [m], about."""
        if not self._overlap:
            return self._apart
        spread = np.linalg.inv(self._precision + _PRIOR * np.eye(len(self._toward)))
        found: Vector = self._apart + spread @ self._toward / np.diag(spread)
        return found
