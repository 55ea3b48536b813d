"""Mechanisms: the one place where noise is added to a sum over people."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from dp_accounting import DpEvent, GaussianDpEvent, NonPrivateDpEvent, PoissonSampledDpEvent
from numpy.typing import NDArray

from shared.errors import ConfigError, ProtocolError
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.source import NoiseSource, Normals


class Mechanism(Protocol):
    """What releases a sum of clipped contributions."""

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise over the clipping norm; 0 adds none."""
        ...

    @property
    def clip(self) -> L2Clip:
        """The clip that every contribution to the sum went through."""
        ...

    def release(self, total: NDArray[np.floating], source: NoiseSource) -> NDArray[np.float64]:
        """The noised sum [dim]. Write the event to the ledger first."""
        ...


@dataclass(frozen=True)
class GaussianMechanism:
    """Release a sum of clipped contributions with Gaussian noise of standard deviation z C.

        release = sum_i clip(u_i) + z C N(0, I)

    The noise is added to the sum, before any division by a cohort size.

    Parameters
    ----------
    noise_multiplier : float
        z >= 0, relative to the clipping norm C whatever the neighbouring relation (accountants
        translate); 0 adds no noise and is accounted as not private.
    clip : L2Clip
        The clip that every contribution to the sum went through.

    Raises
    ------
    ConfigError
        For a noise multiplier that is negative or not finite.

    References
    ----------
    Dwork, Roth. The Algorithmic Foundations of Differential Privacy. 2014. Appendix A.
    """

    noise_multiplier: float
    clip: L2Clip

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier >= 0):
            raise ConfigError(
                f"noise multiplier = {self.noise_multiplier}: expected a finite number >= 0"
            )

    @property
    def standard_deviation(self) -> float:
        """Of the noise on each coordinate of the sum: z C."""
        return self.noise_multiplier * self.clip.norm

    def release(self, total: NDArray[np.floating], source: Normals) -> NDArray[np.float64]:
        """The noised sum. Write the event to the ledger first.

        Parameters
        ----------
        total : numpy.ndarray
            float, [dim], finite: the sum of clipped contributions, zeros for an empty cohort.
        source : Normals
            Where the noise comes from; a source must not serve two releases with the same key
            and context.

        Returns
        -------
        numpy.ndarray
            float64, [dim].

        Raises
        ------
        ProtocolError
            If `total` has another shape or is not finite.
        """
        if total.ndim != 1 or not np.isfinite(total).all():
            raise ProtocolError(f"sum of shape {total.shape}: expected [dim], every number finite")
        exact = total.astype(np.float64)  # a copy
        if self.noise_multiplier == 0:
            return exact
        return exact + self.standard_deviation * source.normal(exact.size)

    def event(self, sampling_probability: float) -> DpEvent:
        """What a release does, for the ledger and the accountants.

        Parameters
        ----------
        sampling_probability : float
            q in (0, 1]: the probability with which each unit, independently, was in the sum.

        Returns
        -------
        dp_accounting.DpEvent
            Poisson-sampled Gaussian for q < 1, Gaussian for q = 1, non-private without noise.

        Raises
        ------
        ConfigError
            For a probability outside (0, 1].
        """
        if not 0 < sampling_probability <= 1:
            raise ConfigError(
                f"sampling probability = {sampling_probability}: expected a number in (0, 1]"
            )
        if self.noise_multiplier == 0:
            return NonPrivateDpEvent()
        gaussian = GaussianDpEvent(self.noise_multiplier)
        if sampling_probability == 1:
            return gaussian
        return PoissonSampledDpEvent(sampling_probability, gaussian)
