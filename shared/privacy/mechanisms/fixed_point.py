"""Real vectors on a grid of whole numbers, with a sensitivity that holds to the last bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.errors import ConfigError
from shared.privacy.contribution.clipping import L2Clip
from shared.secagg.ring import Integers

_FEWEST, _MOST = 4, 24  # squares of so many bits add up exactly in int64
# A clipped contribution may be longer than C by 1e-12 of it (`L2Clip`), a product by one rounding.
_MARGIN = 1 - 1e-11


@dataclass(frozen=True)
class FixedPoint:
    """The grid on which the clipping norm C is 2^b steps.

        encode(x) = trunc(x 2^b / C)

    Truncation is towards zero, so no coordinate grows, hence neither the L2 nor the L1 norm. What
    comes out has an L2 norm of at most 2^b *exactly*: the squares of the whole numbers are summed,
    in whole numbers, and a contribution for which they exceed 4^b becomes zero, as does one that
    holds NaN or infinity. For a contribution that went through the clip this never happens. Under
    stochastic rounding a bound like this would hold with some probability only.

    The L1 norm is at most 4^b: |k| <= k^2 for whole numbers, whatever the dimension.

    Parameters
    ----------
    clip : L2Clip
        Of a contribution, before it is encoded.
    bits : int
        b, from 4 to 24. A step is C / 2^b; truncation costs up to one step a coordinate.

    Raises
    ------
    ConfigError
        For a number of bits outside its range.

    References
    ----------
    Agarwal, Kairouz, Liu. The Skellam Mechanism for Differentially Private Federated Learning.
    NeurIPS 2021. https://arxiv.org/abs/2110.04995
    """

    clip: L2Clip
    bits: int

    def __post_init__(self) -> None:
        if not _FEWEST <= self.bits <= _MOST:
            raise ConfigError(f"grid of {self.bits} bits: expected {_FEWEST} to {_MOST}")

    @property
    def l2_sensitivity(self) -> int:
        """How long an encoded contribution can be, in steps: 2^b."""
        return 1 << self.bits

    @property
    def l1_sensitivity(self) -> int:
        """The largest sum of its coordinates' magnitudes, in steps: 4^b."""
        return 1 << 2 * self.bits

    @property
    def step(self) -> float:
        """Width of the grid, in units of the contribution."""
        return self.clip.norm / self.l2_sensitivity

    def encode(self, contributions: npt.NDArray[np.floating]) -> Integers:
        """Clipped contributions in grid steps.

        Parameters
        ----------
        contributions : float32 or float64 [..., dim]
            One in each row.

        Returns
        -------
        int64 [..., dim]
        """
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            exact = contributions.astype(np.float64)
            scaled = np.trunc(exact * (_MARGIN * self.l2_sensitivity) / self.clip.norm)
            lengths = np.sqrt((scaled * scaled).sum(-1, keepdims=True))
        small = lengths <= 2 * self.l2_sensitivity  # not NaN either: so it fits into whole numbers
        whole = np.where(small, scaled, 0.0).astype(np.int64)
        squares = (whole * whole).sum(-1, keepdims=True)
        within: Integers = np.where(squares <= self.l1_sensitivity, whole, 0)  # 4^b for both
        return within

    def decode(self, total: Integers) -> npt.NDArray[np.float64]:
        """A sum in grid steps, int64 of any shape, as float64 in units of the contributions."""
        values: npt.NDArray[np.float64] = total.astype(np.float64) * self.step
        return values
