"""Noise in shares: every device adds its own, and the server learns a sum with enough of them.

    message_i = trunc(clip(u_i) 2^b / C) + Skellam(v)   modulo 2^r, int
    release   = (sum of the messages modulo 2^r, read from -2^(r-1) to 2^(r-1)) C / 2^b

With m messages the sum holds Skellam noise of variance m v, whoever sums them and in which order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from shared.errors import ConfigError
from shared.privacy.accounting.events import SkellamDpEvent
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.fixed_point import FixedPoint
from shared.privacy.mechanisms.skellam import SkellamNoise, WordSource, tail
from shared.secagg.ring import Ring, Words

WRAP_BITS = 40  # a run of up to 2^20 rounds misreads a number with probability 2^-40 at most, ...
_ROUND_BITS = 20
_NUMBER_BITS = 40  # ... if it sums up to 2^40 numbers
_SHORT_OF = 1e-4  # chance that a drawn cohort is smaller than what the noise counts on


@dataclass(frozen=True)
class SkellamMechanism:
    """A sum of clipped contributions with Skellam noise, added by those who contribute.

    Parameters
    ----------
    grid : FixedPoint
        Of the contributions.
    share : int
        v, the variance of one device's noise in squared grid steps, >= 1.
    survivors : int
        m, the fewest devices whose noise a sum may hold: what is accounted.
    devices : int
        The most devices that a sum may hold, at least m: what the ring is large enough for.

    Raises
    ------
    ConfigError
        If the devices are fewer than the survivors, the noise is out of range, or no ring is large
        enough.

    References
    ----------
    Agarwal, Kairouz, Liu. The Skellam Mechanism for Differentially Private Federated Learning.
    NeurIPS 2021. https://arxiv.org/abs/2110.04995
    """

    grid: FixedPoint
    share: int
    survivors: int
    devices: int

    def __post_init__(self) -> None:
        if not 1 <= self.survivors <= self.devices:
            raise ConfigError(
                f"survivors = {self.survivors}: expected 1 to {self.devices}, the devices in a sum"
            )
        SkellamNoise(self.share)
        self._reach()

    @classmethod
    def with_noise(
        cls, noise_multiplier: float, grid: FixedPoint, survivors: int, devices: int
    ) -> SkellamMechanism:
        """The least shares of which `survivors` have a standard deviation of at least z C.

        Parameters
        ----------
        noise_multiplier : float
            z > 0.
        """
        variance = (noise_multiplier * grid.l2_sensitivity) ** 2
        return cls(grid, max(1, math.ceil(variance / survivors)), survivors, devices)

    @property
    def clip(self) -> L2Clip:
        """Of a contribution."""
        return self.grid.clip

    @property
    def fewest(self) -> int:
        """Messages with which a sum may be opened."""
        return self.survivors

    @property
    def variance(self) -> int:
        """Of the noise that is accounted, m v, in squared grid steps."""
        return self.survivors * self.share

    @property
    def noise_multiplier(self) -> float:
        """The standard deviation that is accounted, in units of C."""
        return math.sqrt(self.variance) / self.grid.l2_sensitivity

    def event(self) -> SkellamDpEvent:
        """What a release costs one who knows the cohort, with the fewest survivors."""
        return SkellamDpEvent(
            variance=float(self.variance),
            l2_sensitivity=float(self.grid.l2_sensitivity),
            l1_sensitivity=float(self.grid.l1_sensitivity),
        )

    @cached_property
    def ring(self) -> Ring:
        """In which messages are added: a sum is misread with probability 2^-40 a run at most."""
        return Ring.holding(self._reach())

    def _reach(self) -> int:
        """The largest magnitude that a sum has, but for that probability."""
        noise = tail(float(self.devices * self.share), WRAP_BITS + 1 + _NUMBER_BITS)
        reach = self.devices * self.grid.l2_sensitivity + noise
        Ring.holding(reach)
        return reach

    def release(
        self, total: npt.NDArray[np.floating], source: WordSource
    ) -> npt.NDArray[np.float64]:
        """An opened sum as it is: its noise came with it."""
        return total.astype(np.float64)

    def message(self, contribution: npt.NDArray[np.floating], source: WordSource) -> Words:
        """What one device sends: nothing about it shows but in a sum with the others' noise.

        Parameters
        ----------
        contribution : float32 or float64 [dim]
            Clipped.
        source : WordSource
            The device's own; must not serve two messages with the same key and context.

        Returns
        -------
        uint32 or uint64 [dim]
            Elements of `ring`.
        """
        noise = SkellamNoise(self.share).draw(source, contribution.size)
        return self.ring.reduce(self.grid.encode(contribution) + noise)

    def open(self, total: Words) -> npt.NDArray[np.float64]:
        """The noised sum, float64 [dim], that a sum of messages stands for."""
        return self.grid.decode(self.ring.centred(total))


def fewest_that_come(expected: float, users: int) -> int:
    """How many are in every cohort, or in all but one of 10,000 where they are drawn; may be 0.

    Parameters
    ----------
    expected : float
        Cohort, in (0, users].
    users : int
    """
    return users if expected == users else int(binom.ppf(_SHORT_OF, users, expected / users))


def fewest_survivors(share: float | None, expected: float, users: int) -> int:
    """How many devices' noise a sum must hold.

    Parameters
    ----------
    share : float or None
        Of the expected cohort, in (0, 1]. None: all of it where everyone is drawn; else as many as
        a Poisson cohort has but once in 10,000 rounds.
    expected : float
        Cohort, in (0, users].
    users : int

    Raises
    ------
    ConfigError
        If that is nobody.
    """
    if share is not None:
        return max(1, math.ceil(share * expected - 1e-9))
    found = fewest_that_come(expected, users)
    if found < 1:
        raise ConfigError(
            f"federation.cohort: {expected:g} expected of {users} users may be nobody, and then "
            "nobody adds noise (privacy.trust = distributed); give a larger --cohort"
        )
    return found


def largest_cohort(expected: float, users: int) -> int:
    """More devices than this are drawn with probability 2^-41 at most, in all rounds together.

    Bernstein's inequality: P(K >= E + t) <= exp(-t^2 / (2 (E + t / 3))).
    """
    bits = (WRAP_BITS + 1 + _ROUND_BITS) * math.log(2)
    above = bits / 3 + math.sqrt(bits**2 / 9 + 2 * bits * expected)
    return min(users, math.ceil(expected + above))
