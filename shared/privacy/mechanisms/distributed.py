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
_ROUNDED = 1e-9  # a share of a cohort is a rounded product
_SHORT_OF = 1e-4  # chance that a drawn cohort is smaller than what the noise counts on


@dataclass(frozen=True)
class Counted:
    """How many devices a kind of sum counts on.

    Among the messages of a sum, at least `fewest`, at most a share of `devices` is of those in
    league with the server, and so at least `survivors` are of honest devices, whose noise it does
    not know.

    Parameters
    ----------
    survivors : int
        m, the fewest honest devices whose noise a sum holds: what is accounted.
    fewest : int
        F, the fewest messages with which a sum is opened.
    devices : int
        The most messages that a sum may hold.

    Raises
    ------
    ConfigError
        Unless 1 <= survivors <= fewest <= devices and 2 <= fewest.
    """

    survivors: int
    fewest: int
    devices: int

    def __post_init__(self) -> None:
        if not (1 <= self.survivors <= self.fewest <= self.devices and self.fewest >= 2):
            raise ConfigError(
                f"{self.survivors} survivors among {self.fewest} messages of {self.devices} "
                "devices: expected 1 <= survivors <= messages <= devices, and 2 messages"
            )

    @classmethod
    def on(cls, share: float | None, colluding: float, expected: float, users: int) -> Counted:
        """What settings count on.

        Parameters
        ----------
        share : float or None
            Of the expected cohort whose honest noise must be there, in (0, 1]. None: of all who
            come less those who may collude.
        colluding : float
            Share of a cohort that may be in league with the server, in [0, 1/2).
        expected : float
            Cohort, in (0, users].
        users : int
            >= 1.

        Raises
        ------
        ConfigError
            If nobody's noise would be left to count on, or no cohort is large enough.
        """
        devices, come = largest_cohort(expected, users), fewest_that_come(expected, users)
        against = math.floor(colluding * devices + _ROUNDED)
        if share is None:
            survivors = come - against
        else:
            survivors = max(1, math.ceil(share * expected - _ROUNDED))
        if survivors < 1:
            raise ConfigError(
                f"federation.cohort: of {expected:g} expected of {users} users as few as {come} "
                f"may come, and as many as {against} may collude (privacy.colluding = "
                f"{colluding:g}): then nobody adds noise (privacy.trust = distributed); give a "
                "larger --cohort, a smaller privacy.colluding, or privacy.min_survivors"
            )
        fewest = max(2, survivors + against)
        if fewest > devices:
            asked = "" if share is None else f"privacy.min_survivors = {share:g}: "
            raise ConfigError(
                f"{asked}{survivors} honest devices beside {against} that may collude "
                f"(privacy.colluding = {colluding:g}) are more than the {devices} that may be in "
                "a sum of at least 2; give less of one of them, or a larger --cohort"
            )
        return cls(survivors, fewest, devices)


@dataclass(frozen=True)
class SkellamMechanism:
    """A sum of clipped contributions with Skellam noise, added by those who contribute.

    Parameters
    ----------
    grid : FixedPoint
        Of the contributions.
    share : int
        v, the variance of one device's noise in squared grid steps, >= 1.
    counted : Counted
        On how many devices: m of them are accounted, the ring holds all.

    Raises
    ------
    ConfigError
        If the noise is out of range, or no ring is large enough.

    References
    ----------
    Agarwal, Kairouz, Liu. The Skellam Mechanism for Differentially Private Federated Learning.
    NeurIPS 2021. https://arxiv.org/abs/2110.04995
    """

    grid: FixedPoint
    share: int
    counted: Counted

    def __post_init__(self) -> None:
        SkellamNoise(self.share)
        self._reach()

    @classmethod
    def with_noise(
        cls, noise_multiplier: float, grid: FixedPoint, counted: Counted
    ) -> SkellamMechanism:
        """The least shares of which m have a standard deviation of at least z C.

        Parameters
        ----------
        noise_multiplier : float
            z > 0.
        """
        variance = (noise_multiplier * grid.l2_sensitivity) ** 2
        return cls(grid, max(1, math.ceil(variance / counted.survivors)), counted)

    @property
    def clip(self) -> L2Clip:
        """Of a contribution."""
        return self.grid.clip

    @property
    def variance(self) -> int:
        """Of the noise that is accounted, m v, in squared grid steps."""
        return self.counted.survivors * self.share

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
        noise = tail(float(self.counted.devices * self.share), WRAP_BITS + 1 + _NUMBER_BITS)
        reach = self.counted.devices * self.grid.l2_sensitivity + noise
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


def largest_cohort(expected: float, users: int) -> int:
    """More devices than this are drawn with probability 2^-41 at most, in all rounds together.

    Bernstein's inequality: P(K >= E + t) <= exp(-t^2 / (2 (E + t / 3))).
    """
    bits = (WRAP_BITS + 1 + _ROUND_BITS) * math.log(2)
    above = bits / 3 + math.sqrt(bits**2 / 9 + 2 * bits * expected)
    return min(users, math.ceil(expected + above))
