"""The matrix C of correlated noise: banded, lower triangular, Toeplitz, and its sensitivity.

A server that adds up releases applies a linear map A to the rounds' sums (a workload). With
A = B C it may release C^-1 (C X + Z) instead of X + Z: the noise of a round partly cancels that of
the rounds before it, so sums over rounds carry less of it, for the price of C's sensitivity.

    C[t, r] = c_{t-r} for 0 <= t - r < b, else 0

References
----------
Denisov, McMahan, Rush, Smith, Thakurta. Improved Differential Privacy for SGD via Optimal Private
Linear Operators on Adaptive Streams. NeurIPS 2022. https://arxiv.org/abs/2202.08312
Kalinin, Lampert. Banded Square Root Matrix Factorization for Differentially Private Model
Training. NeurIPS 2024. https://arxiv.org/abs/2405.13763
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class BandedToeplitz:
    """C by the first column of its bands.

    Parameters
    ----------
    coefficients : tuple of float
        c_0 > 0, c_1, ..., c_{b-1}: not negative and not increasing, b <= rounds.
    rounds : int
        n >= 1: C is n x n.

    Raises
    ------
    ConfigError
        For other coefficients: then `sensitivity` would not be that of C.
    """

    coefficients: tuple[float, ...]
    rounds: int

    def __post_init__(self) -> None:
        c = self.coefficients
        falling = all(after <= before for before, after in pairwise(c))
        if not (1 <= len(c) <= self.rounds and c[0] > 0 and c[-1] >= 0 and falling):
            raise ConfigError(
                f"coefficients of the noise matrix = {str(c)[:60]}: expected 1 to {self.rounds} "
                "numbers that do not increase, the first above 0 and none below"
            )

    @property
    def bands(self) -> int:
        """b: as many rounds back the noise of a round reaches, itself counted."""
        return len(self.coefficients)

    def dense(self) -> Matrix:
        """C itself [rounds, rounds]."""
        return _toeplitz(np.asarray(self.coefficients), self.rounds)

    def inverse(self) -> Matrix:
        """The first column [rounds] of C^-1, which is lower triangular and Toeplitz, too."""
        c = np.zeros(self.rounds)
        c[: self.bands] = self.coefficients
        column = np.zeros(self.rounds)
        column[0] = 1 / c[0]
        for t in range(1, self.rounds):
            column[t] = -(c[1 : t + 1] @ column[t - 1 :: -1]) / c[0]
        return column

    def sensitivity(self, participations: int, separation: int) -> float:
        """How far one unit moves C X in L2 norm, if each contribution has norm at most 1.

        sup || sum over i in S of C[:, i] x_i ||  over ||x_i|| <= 1 and all sets S of at most k
        rounds, any two at least s apart. For coefficients like these the largest is that of
        S = {0, s, 2s, ...} and equal x_i (Kalinin, Lampert 2024, theorem 2). With at most s bands
        the columns in S do not overlap and it is the root of their summed squares, sqrt(k) times
        one column's norm unless the last ones are cut off by the end.

        Parameters
        ----------
        participations : int
            k >= 1: how often one unit may take part.
        separation : int
            s >= 1: it takes part in rounds i and j only if |i - j| >= s.

        Returns
        -------
        float
            Multiply by the clipping norm.

        Raises
        ------
        ConfigError
            For a count below 1.
        """
        k = most_participations(self.rounds, separation, participations)
        moved = np.zeros(self.rounds)
        for start in range(0, k * separation, separation):
            length = min(self.bands, self.rounds - start)
            moved[start : start + length] += self.coefficients[:length]
        return float(np.linalg.norm(moved))

    def errors(self, workload: Matrix) -> Matrix:
        """Standard deviation of each row of A C^-1 Z for Z of standard normal rows.

        Parameters
        ----------
        workload : float64 [iterates, rounds]
            A: how the rounds' sums enter each iterate, see `server_workload`.

        Returns
        -------
        float64 [iterates]
            Without the sensitivity, which scales Z.
        """
        found: Matrix = np.linalg.norm(workload @ _toeplitz(self.inverse(), self.rounds), axis=1)
        return found


def most_participations(rounds: int, separation: int, at_most: int | None = None) -> int:
    """How often one unit can take part in n rounds: min(k, ceil(n / s)).

    Parameters
    ----------
    rounds, separation : int
        >= 1.
    at_most : int, optional
        k >= 1. Default: no limit but the separation's.

    Raises
    ------
    ConfigError
        For a count below 1.
    """
    for name, value in (("rounds", rounds), ("separation", separation), ("at_most", at_most)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} = {value}: expected at least 1")
    possible = -(-rounds // separation)
    return possible if at_most is None else min(at_most, possible)


def banded_square_root(rounds: int, bands: int, momentum: float = 0.0) -> BandedToeplitz:
    """The square root of the workload of SGD with momentum, cut off after b bands.

    A = E(1) E(beta), with E(a)[t, r] = a^(t-r): sums over rounds of a running mean. Its square
    root has, with r_i = |binomial(-1/2, i)|, the coefficients

        c_j = sum over i from 0 to j of r_i r_{j-i} beta^(j-i)

    Parameters
    ----------
    rounds : int
        n >= 1.
    bands : int
        b from 1 to n; 1 is independent noise.
    momentum : float
        beta in [0, 1); 0 for prefix sums.

    Raises
    ------
    ConfigError
        For a value outside its range.

    References
    ----------
    Kalinin, Lampert 2024, theorem 1 (without weight decay); for beta = 0 Fichtenberger, Henzinger,
    Upadhyay. Constant Matters. ICML 2023. https://arxiv.org/abs/2202.11205
    """
    if not 1 <= bands <= rounds:
        raise ConfigError(f"bands = {bands}: expected 1 to {rounds}, the rounds")
    if not 0 <= momentum < 1:
        raise ConfigError(f"momentum = {momentum}: expected a number in [0, 1)")
    i = np.arange(1, bands)
    root = np.concatenate([[1.0], np.cumprod((2 * i - 1) / (2 * i))])  # r_0, ..., r_{b-1}
    decayed = root * momentum ** np.arange(bands)
    # No library routine for the sum: the order of additions, and so every bit, is fixed.
    c = [sum(root[i] * decayed[j - i] for i in range(j + 1)) for j in range(bands)]
    return BandedToeplitz(tuple(float(value) for value in c), rounds)


def server_workload(rates: Matrix, momentum: float) -> Matrix:
    """How every round's sum enters every iterate of a server that steps with momentum.

        m_t = beta m_{t-1} + u_t,  theta_t = theta_{t-1} + rate_t m_t

    Parameters
    ----------
    rates : float64 [rounds]
    momentum : float
        beta in [0, 1).

    Returns
    -------
    float64 [rounds, rounds]
        A with theta_t - theta_0 = sum over r of A[t, r] u_r.
    """
    rounds = len(rates)
    means = _toeplitz(np.asarray(momentum ** np.arange(rounds), dtype=np.float64), rounds)
    workload: Matrix = np.tri(rounds) @ (rates[:, np.newaxis] * means)
    return workload


def _toeplitz(column: Matrix, size: int) -> Matrix:
    padded = np.zeros(2 * size - 1)
    padded[size - 1 : size - 1 + len(column)] = column[:size]
    lag = np.arange(size)[:, np.newaxis] - np.arange(size)
    dense: Matrix = padded[lag + size - 1]
    return dense
