"""Gaussian noise that is correlated over rounds: DP-FTRL by a banded matrix C.

    release_t = sum_i clip(u_i) + z sens(C) clip (C^-1 Z)_t

All rounds together are one Gaussian mechanism with noise multiplier z on C X, whose sensitivity is
sens(C) clips; releasing C^-1 of it is post-processing. No secrecy of who takes part is needed, only
that nobody takes part more often, or sooner again, than sens(C) was computed for.

References
----------
Choquette-Choo, Ganesh, McKenna, McMahan, Rush, Thakurta, Xu. (Amplified) Banded Matrix
Factorization. NeurIPS 2023. https://arxiv.org/abs/2306.08153
Kairouz et al. Practical and Private (Deep) Learning without Sampling or Shuffling (DP-FTRL). ICML
2021. https://arxiv.org/abs/2103.00039
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from dp_accounting import DpEvent, GaussianDpEvent, NonPrivateDpEvent
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource, Normals
from shared.privacy.mechanisms.toeplitz import BandedToeplitz

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class CorrelatedMechanism:
    """Release the sums of all rounds with noise of covariance (C^T C)^-1 over the rounds.

    Parameters
    ----------
    noise_multiplier : float
        z >= 0 of the one Gaussian mechanism that all rounds are together.
    clip : L2Clip
        The clip that every contribution to a sum went through.
    matrix : BandedToeplitz
        C.
    participations, separation : int
        Limits of one unit, which the server enforces (`server.cohort.participation`).

    Raises
    ------
    ConfigError
        For a noise multiplier that is negative or not finite.
    """

    noise_multiplier: float
    clip: L2Clip
    matrix: BandedToeplitz
    participations: int
    separation: int

    def __post_init__(self) -> None:
        _ = self._of_a_round  # checks

    @cached_property
    def sensitivity(self) -> float:
        """Of C under the limits, for contributions of norm 1."""
        return self.matrix.sensitivity(self.participations, self.separation)

    @cached_property
    def _of_a_round(self) -> GaussianMechanism:
        return GaussianMechanism(self.noise_multiplier * self.sensitivity, self.clip)

    @property
    def standard_deviation(self) -> float:
        """Of z sens(C) clip Z, before C^-1: also that of the first round's noise if c_0 = 1."""
        return self._of_a_round.standard_deviation

    def release(self, total: NDArray[np.floating], source: Normals) -> Vector:
        """One round's noised sum [dim]; errors as for `GaussianMechanism.release`.

        Parameters
        ----------
        total : numpy.ndarray
            float, [dim], finite.
        source : Normals
            The round's row of C^-1 Z: `CorrelatedNoise.row`. Any other would break the guarantee.
        """
        return self._of_a_round.release(total, source)

    def event(self, sampling_probability: float = 1.0) -> DpEvent:
        """What all rounds together cost: recorded once, before the first.

        Raises
        ------
        ConfigError
            For a sampling probability below 1: nothing here is amplified.
        """
        if sampling_probability != 1:
            raise ConfigError(
                f"sampling probability = {sampling_probability}: expected 1; correlated noise is "
                "not amplified by sampling here"
            )
        if self.noise_multiplier == 0:
            return NonPrivateDpEvent()
        return GaussianDpEvent(self.noise_multiplier)


class CorrelatedNoise:
    """Rows of C^-1 Z, each as good as its row of Z can be repeated.

        w_t = (z_t - sum over j from 1 to b-1 of c_j w_{t-j}) / c_0

    Row t depends on rows 1 to t of Z alone, and these on a key: after a restart the same rows come
    again, bit by bit, and a row that was passed over stays passed over.

    Parameters
    ----------
    matrix : BandedToeplitz
    independent : callable
        The source of row t of Z, t from 1: the same numbers whenever it is asked for.
    """

    def __init__(self, matrix: BandedToeplitz, independent: Callable[[int], NoiseSource]) -> None:
        self._matrix = matrix
        self._independent = independent
        self._at = 0  # the last row made
        self._before: deque[Vector] = deque(maxlen=max(matrix.bands - 1, 1))

    def check(self, number: int) -> None:
        """That there is such a row.

        Raises
        ------
        ConfigError
            For a row below 1 or above the matrix's rounds: the guarantee covers no more.
        """
        if not 1 <= number <= self._matrix.rounds:
            raise ConfigError(f"row {number} of the noise: expected 1 to {self._matrix.rounds}")

    def row(self, number: int) -> Normals:
        """Row t of C^-1 Z as a source of numbers; errors as for `check`."""
        self.check(number)
        return _Row(self, number)

    def _made(self, number: int, size: int) -> Vector:
        if number < self._at or (self._before and len(self._before[0]) != size):
            self._at = 0
            self._before.clear()
        while self._at < number:
            self._at += 1
            self._before.appendleft(self._next(size))
        return self._before[0].copy()

    def _next(self, size: int) -> Vector:
        c = self._matrix.coefficients
        row = self._independent(self._at).normal(size)
        for lag, earlier in zip(c[1:], self._before, strict=False):
            row = row - lag * earlier
        return row / c[0]


class _Row:
    def __init__(self, noise: CorrelatedNoise, number: int) -> None:
        self._noise = noise
        self._number = number

    def normal(self, size: int) -> Vector:
        """The row's numbers [size]."""
        return self._noise._made(self._number, size)
