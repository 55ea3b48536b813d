"""Two Gaussian releases about the same people at once: an update and the bits of its clip."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource

# The bits may take at most this share of a round's squared signal-to-noise ratio.
_LARGEST_SHARE = 0.1


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
        if not 0 < sampling_probability <= 1:
            raise ConfigError(
                f"sampling probability = {sampling_probability}: expected a number in (0, 1]"
            )
        parts = [self.update.noise_multiplier, self.bits.noise_multiplier]
        if not all(parts):
            return NonPrivateDpEvent()
        both = ComposedDpEvent([GaussianDpEvent(z) for z in parts])
        # Everyone is a sample with q = 1, stated as one: accountants count both parts together.
        return PoissonSampledDpEvent(sampling_probability, both)


def is_joint(event: DpEvent) -> bool:
    """Whether an event is several releases of one sample, as `UpdateWithBits.event` gives."""
    return type(event) is PoissonSampledDpEvent and type(event.event) is ComposedDpEvent
