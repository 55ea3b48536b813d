"""Adaptive clipping: the clipping norm follows a private quantile of the updates' norms.

    b_i     = 1/2 if ||u_i|| <= C_t else -1/2               on the device, beside clip(u_i)
    b~_t    = 1/2 + (sum_i b_i + sigma_b N(0, 1)) / (q N)    at the server: the share below C_t
    C_(t+1) = C_t exp(-eta (b~_t - gamma))

C_t is public: it follows from what was released. Where more than gamma of the people are below it,
it falls; where fewer are, it rises; it rests at the gamma-quantile of their norms.

References
----------
Andrew, Thakkar, McMahan, Ramaswamy. Differentially Private Learning with Adaptive Clipping.
NeurIPS 2021. https://arxiv.org/abs/1905.03871
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import ConfigError, ProtocolError
from shared.privacy.contribution.clipping import L2Clip

if TYPE_CHECKING:
    import torch

# Centred bits are 1/2 long whichever way they point: with 0 and 1 one person would count twice.
BIT_CLIP = L2Clip(0.5)

# However the noise falls, C_t stays within this factor of where it started.
_RANGE = 1e3


def quantile_bits(clip: L2Clip, updates: torch.Tensor) -> torch.Tensor:
    """Whether each update is within the clip: 1/2, or -1/2. Of updates *before* they are clipped.

    Of an update that is zero 0: who has nothing to contribute does not contribute a bit either.

    Parameters
    ----------
    clip : L2Clip
        Of norm C_t.
    updates : torch.Tensor
        float32 or float64, [..., dim]; not clipped yet.

    Returns
    -------
    torch.Tensor
        float64, [...], every value 1/2, -1/2 or 0. A norm that is not finite is not within the
        clip.
    """
    import torch

    norms = clip.norms(updates)
    within = norms <= clip.norm  # false for NaN
    bits = torch.where(within, BIT_CLIP.norm, -BIT_CLIP.norm).to(torch.float64)
    return torch.where(norms == 0, torch.zeros_like(bits), bits)


def clip_and_bits(clip: L2Clip, updates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Clipped updates [..., dim] with their bits [...]; see `L2Clip` and `quantile_bits`."""
    return clip(updates), quantile_bits(clip, updates)


@dataclass(frozen=True)
class QuantileRule:
    """How the clipping norm moves from round to round.

    Parameters
    ----------
    quantile : float
        gamma in (0, 1): the share of updates that should be within the clip.
    rate : float
        eta > 0.
    start : float
        C_0; every C_t is within [C_0 / 1000, 1000 C_0].
    """

    quantile: float
    rate: float
    start: float

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise ConfigError(f"quantile = {self.quantile}: expected a number in (0, 1)")
        if not 0 < self.rate < math.inf:
            raise ConfigError(f"clipping rate = {self.rate}: expected a finite number > 0")

    def next(self, norm: float, bits: float, expected: float) -> float:
        """C_(t+1), from what was released: post-processing, free under privacy.

        Parameters
        ----------
        norm : float
            C_t > 0.
        bits : float
            The noised sum of the cohort's bits.
        expected : float
            Expected cohort q N > 0, not the actual one, which is not released.
        """
        share = 0.5 + bits / expected  # b~, outside [0, 1] where noise carries it there
        step = max(min(-self.rate * (share - self.quantile), 50.0), -50.0)  # exp stays finite
        return min(max(norm * math.exp(step), self.start / _RANGE), self.start * _RANGE)

    def check(self, norm: float) -> float:
        """A clipping norm that arrived with a request.

        Raises
        ------
        ProtocolError
            If it is outside the range that the rule keeps to.
        """
        low, high = self.start / _RANGE, self.start * _RANGE
        if not low * (1 - 1e-9) <= norm <= high * (1 + 1e-9):  # also refuses NaN
            raise ProtocolError(
                f"clipping norm {norm:g} of this round: expected {low:g} to {high:g}, from "
                f"privacy.clipping_norm = {self.start:g}"
            )
        return norm
