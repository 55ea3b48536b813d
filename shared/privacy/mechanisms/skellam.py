"""Skellam noise, drawn exactly: the difference of two Poisson numbers of one mean.

A sum of independent Skellam numbers is Skellam, with the sum of their variances. So the noise of a
sum can be made in shares, one on every device, and nobody ever holds a sum with less than all.
"""

from __future__ import annotations

import functools
import math
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.errors import ConfigError

_WORD = 64
_RESOLUTION = 2 * _WORD - 1  # bits of a threshold: one bit of two words is the sign
_TAIL = 128  # a table leaves out magnitudes of joint probability 2^-128 at most
_GUARD = 192  # bits below the smallest weight of a table
_LARGEST = 2**30  # variance of one table: half a million entries, made in half a second
_MOST = 42  # bits of a variance: beyond, one number would be the sum of thousands
_CHUNK = 2**17  # numbers drawn at once: they stay in the processor's cache


class WordSource(Protocol):
    """Uniform words, different at every call; see
    `shared.privacy.mechanisms.source.NoiseSource`.
    """

    def words(self, size: int) -> npt.NDArray[np.uint64]:
        """Independent uniform uint64 [size]."""
        ...


class SkellamNoise:
    """Skellam numbers of mean 0 and a whole variance v.

        P(X = k) = e^(-v) I_|k|(v),   X = Poisson(v/2) - Poisson(v/2)

    Drawn by inverting the distribution function of |X|, whose thresholds are 127-bit whole numbers
    computed in exact integer arithmetic. The total variation distance between a number drawn and
    Skellam(v) is at most 2^-100 (see `thresholds`), so that of 2^40 numbers is at most 2^-60, far
    below any delta.

    Parameters
    ----------
    variance : int
        v, from 1 to 2^42. Above 2^30 a number is the sum of several, each as exact.

    Raises
    ------
    ConfigError
        For a variance outside its range.

    References
    ----------
    Skellam. The frequency distribution of the difference between two Poisson variates belonging to
    different populations. Journal of the Royal Statistical Society 109, 1946.
    Chen, Asau. On generating random variates from an empirical distribution. 1974: the guide table.
    """

    def __init__(self, variance: int) -> None:
        if not 1 <= variance <= 2**_MOST:
            raise ConfigError(
                f"variance of a device's noise = {variance:.3g} squared grid steps: expected 1 to "
                f"2^{_MOST}; give a larger epsilon, or a larger cohort"
            )
        self.variance = variance
        whole, rest = divmod(variance, _LARGEST)
        self._parts = [(_LARGEST, whole), (rest, 1)]

    def draw(self, source: WordSource, size: int) -> npt.NDArray[np.int64]:
        """Independent numbers.

        Parameters
        ----------
        source : WordSource
            Where randomness comes from.
        size : int
            >= 0.

        Returns
        -------
        int64 [size]
        """
        total = np.zeros(size, dtype=np.int64)
        for variance, times in self._parts:
            for _ in range(times if variance else 0):
                table = _table(variance)
                for start in range(0, size, _CHUNK):
                    piece = total[start : start + _CHUNK]
                    piece += table.draw(source, len(piece))
        return total


class SkellamTable:
    """Inverse distribution function of |X|, X Skellam, looked up with uniform 127-bit numbers.

    Parameters
    ----------
    limits : list of int
        T_0 <= T_1 <= ... <= T_N = 2^127: |X| is the first k for which the number is below T_k.
    """

    def __init__(self, limits: list[int]) -> None:
        low = 2**_WORD - 1
        self._high = np.array([limit >> _WORD for limit in limits], dtype=np.uint64)
        self._low = np.array([min(limit & low, low) for limit in limits], dtype=np.uint64)
        # The first place for every value of a number's leading bits: then few steps are left.
        bits = max(8, (4 * len(limits)).bit_length())
        self._shift = np.uint64(_WORD - 1 - bits)
        starts = np.arange(2**bits, dtype=np.uint64) << self._shift
        self._guide = np.searchsorted(self._high, starts)  # [2^bits]

    def draw(self, source: WordSource, size: int) -> npt.NDArray[np.int64]:
        """Independent numbers, int64 [size]."""
        words = source.words(size)
        high = words & np.uint64(2**63 - 1)
        place = self._guide[high >> self._shift]
        behind = np.flatnonzero(self._high[place] < high)
        while behind.size:
            place[behind] += 1
            behind = behind[self._high[place[behind]] < high[behind]]
        self._resolve(source, high, place)
        drawn: npt.NDArray[np.int64] = np.where(words >> np.uint64(63), -place, place)
        return drawn

    def _resolve(
        self, source: WordSource, high: npt.NDArray[np.uint64], place: npt.NDArray[np.int64]
    ) -> None:
        """Where the upper halves are equal, about once in 2^63 / N numbers, the lower decide."""
        tied = np.flatnonzero(self._high[place] == high)
        for at, low in zip(tied, source.words(len(tied)) if len(tied) else (), strict=True):
            while self._high[place[at]] == high[at] and self._low[place[at]] <= low:
                place[at] += 1


@functools.lru_cache(maxsize=8)
def _table(variance: int) -> SkellamTable:
    return SkellamTable(thresholds(variance))


def thresholds(variance: int) -> list[int]:
    """2^127 P(|X| <= k) for k = 0 ... N, rounded down; the last is 2^127.

    The weights f_k = I_k(v) satisfy f_(k-1) = f_(k+1) + (2k/v) f_k. Run downwards from f_(N+1) = 0
    this is stable: every term is positive (Miller's algorithm).

    Parameters
    ----------
    variance : int
        v >= 1.

    Notes
    -----
    The distribution of k = -N ... N that results is within 2^-100 of Skellam(v) in total variation
    for N < 2^20, that is v up to 2^30:

    1. The recurrence run down from N gives I_k(v) - s K_k(v) I_(N+1)(v) / K_(N+1)(v), s = +-1, up
       to a common factor, and K_k <= K_(N+1). So each probability is wrong by at most P(X = N+1),
       and N is such that (4 N + 4) P(|X| > N) <= 2^-128.
    2. Rounding down loses less than 1 in a step, where weights are at least 2^192 min(1, 2/v):
       relative to each weight less than N max(1, v/2) 2^-192 <= 2^-142.
    3. Rounding a threshold moves less than 2^-127: together less than N 2^-127 <= 2^-107.

    Dividing by the sum at most doubles the first two.

    References
    ----------
    Gautschi. Computational aspects of three-term recurrence relations. SIAM Review 9, 1967.
    """
    last = tail(variance, _TAIL, weight=4)
    weights = [0] * (last + 2)  # f_0 ... f_(N+1)
    weights[last] = 1 << _GUARD
    for k in range(last, 0, -1):
        weights[k - 1] = weights[k + 1] + 2 * k * weights[k] // variance
    everything = 2 * sum(weights) - weights[0]
    below = -weights[0]
    limits = []
    for weight in weights[:-1]:
        below += 2 * weight  # both signs; zero has one
        limits.append((below << _RESOLUTION) // everything)
    return limits


def tail(variance: float, bits: float, weight: float = 0.0) -> int:
    """The least t found with max(1, weight (t + 1)) P(|X| >= t) <= 2^-bits, X Skellam.

        P(|X| >= t) <= 2 exp(-(t asinh(t/v) - sqrt(t^2 + v^2) + v))

    Chernoff's bound; the moment generating function of X is exp(v (cosh(s) - 1)).

    Parameters
    ----------
    variance : float
        v > 0.
    bits : float
        > 0.
    weight : float
        >= 0.
    """

    def enough(t: int) -> bool:
        root = math.hypot(t, variance)
        exponent = t * math.asinh(t / variance) - t * (t / (root + variance))  # no cancellation
        return exponent >= (bits + 1) * math.log(2) + math.log(max(1.0, weight * (t + 1)))

    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
