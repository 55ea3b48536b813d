"""Real vectors as whole numbers without a bias, with a length that holds to the last bit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.privacy.mechanisms.skellam import WordSource
from shared.secagg.ring import Integers

_TRIES = 32
# What is cut may be longer by the rounding of its length.
_MARGIN = 1 - 1e-11


@dataclass(frozen=True)
class StochasticRounding:
    """Vectors of at most `steps` in length, each number rounded up or down at random.

        y_i = floor(x_i) + Bernoulli(x_i - floor(x_i)),   ||y||^2 <= B^2 *always*

    The squares of what was drawn are added up in whole numbers; where they exceed B^2 it is drawn
    again, at last truncated towards zero. B is such that it happens to a vector with probability
    at most 1 / (n + 1), n the devices in a sum. But for that, E y = x.

    Parameters
    ----------
    steps : float
        s >= 1, the length of the longest vector.
    dim : int
        >= 1.
    devices : int
        n >= 1.

    Notes
    -----
    With k = floor(|x_i|) and f = |x_i| - k, the square of y_i is (k + 1)^2 or k^2, with mean
    x_i^2 + f (1 - f). f (1 - f) is at most h(x_i^2), with h(w) = sqrt(w) - w up to w = 1/4 and 1/4
    beyond: concave, and w + h(w) grows. So by Jensen's inequality E ||y||^2 <= s^2 + d h(s^2 / d).
    The squares are independent and move by 2 k + 1 <= 2 |x_i| + 1 each, whose norm over i is at
    most 2 s + sqrt(d). By Hoeffding

        P(||y||^2 > s^2 + d h(s^2 / d) + (2 s + sqrt(d)) sqrt(ln(n + 1) / 2)) <= 1 / (n + 1).

    The numbers of a person's data are y whatever the draw was, and two neighbouring sums differ by
    y, of length at most B: Renyi divergence is quasi-convex, so it is at most the largest over all
    draws. How often it was drawn depends on x and is seen in the time that it took, by whoever can
    measure that on the device.

    References
    ----------
    Kairouz, Liu, Steinke. The Distributed Discrete Gaussian Mechanism for Federated Learning with
    Secure Aggregation. ICML 2021. https://arxiv.org/abs/2102.06387
    """

    steps: float
    dim: int
    devices: int

    @property
    def variance(self) -> float:
        """Of the rounding error, on average over the numbers of any vector: at most h(s^2 / d)."""
        w = self.steps**2 / self.dim
        return math.sqrt(w) - w if w < 0.25 else 0.25

    @property
    def l2_squared(self) -> int:
        """B^2; the sum of magnitudes is at most that too, since |k| <= k^2 for whole numbers."""
        excess = self.dim * self.variance
        spread = (2 * self.steps + math.sqrt(self.dim)) * math.sqrt(math.log(self.devices + 1) / 2)
        return math.floor(self.steps**2 + excess + spread)

    def encode(self, vector: npt.NDArray[np.float64], source: WordSource) -> Integers:
        """Whole numbers for one vector.

        Parameters
        ----------
        vector : float64 [dim]
            In units of the largest length. A longer one is cut to it; one that is not finite, or
            whose square is not, becomes zero.
        source : WordSource

        Returns
        -------
        int64 [dim]
        """
        scaled = self._within(vector)
        below = np.floor(scaled)
        rest, low = scaled - below, below.astype(np.int64)
        for _ in range(_TRIES):
            uniform = (source.words(vector.size) >> np.uint64(11)).astype(np.float64) * 2.0**-53
            whole = low + (uniform < rest)
            if int((whole * whole).sum()) <= self.l2_squared:
                return whole
        return np.trunc(scaled).astype(np.int64)  # no number grows, so it is within

    def _within(self, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """In steps, and at most `steps` long."""
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            length = float(np.sqrt((vector * vector).sum()))
        if not math.isfinite(length):
            return np.zeros_like(vector)
        return vector * (_MARGIN * self.steps / max(1.0, length))


def rounding_error(devices: int, bits: float) -> float:
    """A number of a sum of rounded vectors is off by more with probability 2^-bits at most.

    One device's error e has mean zero, in an interval of length one, so E exp(l e) <= exp(l^2 / 8);
    that it was kept, with probability at least n / (n + 1), divides by that at most, and n devices
    by ((n + 1) / n)^n <= e. Chernoff's bound is then P(|sum| >= a) <= 2 e exp(-2 a^2 / n). No
    error reaches one, so n bounds it too: the only bound that is used below 30 devices. Above, what
    all tries refuse, at most (n + 1)^-32 of the messages, is left out.
    """
    return min(devices, math.sqrt(devices * (bits * math.log(2) + math.log(2) + 1) / 2))
