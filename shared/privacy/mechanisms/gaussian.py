"""Mechanisms: the one place where noise is added to a sum over people."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from dp_accounting import (
    ComposedDpEvent,
    DpEvent,
    GaussianDpEvent,
    NonPrivateDpEvent,
    PoissonSampledDpEvent,
)
from numpy.typing import NDArray

from shared.errors import ConfigError, ProtocolError
from shared.privacy.contribution.adaptive_clip import BIT_CLIP
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.source import NoiseSource, Normals

# The bits may take at most this share of a round's squared signal-to-noise ratio.
_LARGEST_SHARE = 0.1


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
        _check_sampling(sampling_probability)
        if self.noise_multiplier == 0:
            return NonPrivateDpEvent()
        gaussian = GaussianDpEvent(self.noise_multiplier)
        if sampling_probability == 1:
            return gaussian
        return PoissonSampledDpEvent(sampling_probability, gaussian)


@dataclass(frozen=True)
class UpdateWithBits:
    """Release the sum of updates, in units of the round's clip, and the sum of their bits.

        [sum_i clip(u_i) / C_t, sum_i b_i] + [z_u N(0, I), z_b / 2 N(0, 1)]

    In units of C_t the sensitivity is the same in every round, whatever C_t became: 1 for the
    update and 1/2 for the bit. Both come of one Poisson sample, so a round is one event.

    Parameters
    ----------
    update, bits : GaussianMechanism
        With noise multipliers z_u and z_b, each relative to its own sensitivity.
    """

    update: GaussianMechanism
    bits: GaussianMechanism

    @classmethod
    def of(cls, noise_multiplier: float, count_noise: float) -> UpdateWithBits:
        """Split a round's noise between the update and the bits.

            z^-2 = z_u^-2 + z_b^-2,   z_b = max(2 sigma_b, sqrt(10) z)

        Two independent Gaussians about the same person cost exactly what one of multiplier z
        costs. The bits get noise sigma_b, but never more than a tenth of the round's budget:
        where noise is large, a count that is still exact would eat the update.

        Parameters
        ----------
        noise_multiplier : float
            z >= 0 that the round as a whole may have; 0 adds no noise.
        count_noise : float
            sigma_b > 0: standard deviation of the noise that the sum of bits should have.

        References
        ----------
        Andrew et al. 2021, section 3.2 (theorem 1). https://arxiv.org/abs/1905.03871
        """
        z = noise_multiplier
        unit = L2Clip(1.0)
        if z == 0:
            return cls(GaussianMechanism(0.0, unit), GaussianMechanism(0.0, BIT_CLIP))
        if not 0 < count_noise < math.inf:
            raise ConfigError(f"count noise = {count_noise}: expected a finite number > 0")
        z_bits = max(count_noise / BIT_CLIP.norm, z / math.sqrt(_LARGEST_SHARE))
        z_update = (z**-2 - z_bits**-2) ** -0.5
        return cls(GaussianMechanism(z_update, unit), GaussianMechanism(z_bits, BIT_CLIP))

    @property
    def clip(self) -> L2Clip:
        """Of the update in units of C_t: norm 1."""
        return self.update.clip

    @property
    def noise_multiplier(self) -> float:
        """z of one Gaussian release that costs what both cost together; 0 without noise."""
        parts = (self.update.noise_multiplier, self.bits.noise_multiplier)
        if not all(parts):
            return 0.0
        return float(sum(z**-2 for z in parts) ** -0.5)

    def release(self, total: NDArray[np.floating], source: NoiseSource) -> NDArray[np.float64]:
        """Both noised sums. Write the event to the ledger first.

        Parameters
        ----------
        total : numpy.ndarray
            float, [dim + 1], finite: the sum of clipped updates over C_t, then the sum of bits.
        source : NoiseSource

        Returns
        -------
        numpy.ndarray
            float64, [dim + 1].

        Raises
        ------
        ProtocolError
            If `total` has another shape or is not finite.
        """
        if total.ndim != 1 or total.size < 2:
            raise ProtocolError(f"sum of shape {total.shape}: expected [dim + 1]")
        parts = (self.update.release(total[:-1], source), self.bits.release(total[-1:], source))
        return np.concatenate(parts)

    def event(self, sampling_probability: float) -> DpEvent:
        """What a release does: both Gaussians, of one Poisson sample.

        Parameters
        ----------
        sampling_probability : float
            q in (0, 1].

        Raises
        ------
        ConfigError
            For a probability outside (0, 1].
        """
        _check_sampling(sampling_probability)
        parts = [self.update.noise_multiplier, self.bits.noise_multiplier]
        if not all(parts):
            return NonPrivateDpEvent()
        both = ComposedDpEvent([GaussianDpEvent(z) for z in parts])
        # Everyone is a sample with q = 1, stated as one: accountants count both parts together.
        return PoissonSampledDpEvent(sampling_probability, both)


def is_joint(event: DpEvent) -> bool:
    """Whether an event is several releases of one sample, as `UpdateWithBits.event` gives."""
    return type(event) is PoissonSampledDpEvent and type(event.event) is ComposedDpEvent


def _check_sampling(probability: float) -> None:
    if not 0 < probability <= 1:
        raise ConfigError(f"sampling probability = {probability}: expected a number in (0, 1]")
