"""Noise in shares: every device adds its own, and the server learns a sum with enough of them.

    message_i = round(R clip(u_i) s / C) + Skellam(v)   modulo 2^r, int
    release   = R^-1 (sum of the messages modulo 2^r, read from -2^(r-1) to 2^(r-1)) C / s

R rotates at random (`rotation`), rounding is random too (`rounding`). With m honest devices the sum
holds Skellam noise of variance m v that the server does not know, in whichever order it is summed.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from shared.errors import ConfigError
from shared.privacy.accounting.events import SkellamDpEvent
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.rotation import Rotation, transform_size
from shared.privacy.mechanisms.rounding import StochasticRounding, rounding_error
from shared.privacy.mechanisms.skellam import SkellamNoise, WordSource, tail
from shared.secagg.ring import Ring, Words

WRAP_BITS = 40  # a run misreads a number with probability 2^-40 at most, ...
_SUM_BITS = 12  # ... of up to 2^12 sums; twice as many, twice the probability
_ROUND_BITS = 20  # more are drawn than a sum may hold in one of 2^20 rounds with 2^-41 at most
_ROUNDED = 1e-9  # a share of a cohort is a rounded product
_SHORT_OF = 1e-4  # chance that a drawn cohort is smaller than what the noise counts on

_FINEST = 2**14  # steps of a clipping norm: more would be of no use, and noise would take longer
_FRACTION = 64  # they are a whole number of 64ths: nobody computes another by rounding
_ENOUGH = 256  # steps of sensitivity from which on a sum is accounted as if it had no more
_TYPICAL = 1024  # numbers of a sum that a small ring is accounted for


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
                f"larger --cohort{', a smaller privacy.colluding,' * (against > 0)} or "
                "privacy.min_survivors"
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
    noise_multiplier : float
        z > 0: the standard deviation of the honest noise, in units of the sensitivity.
    clip : L2Clip
        Of a contribution.
    bits : int
        r, of a number of a message: messages are added modulo 2^r.
    counted : Counted
        On how many devices: the noise of m of them is accounted, the ring holds all.

    Notes
    -----
    The grid is the finest that the ring holds, so it follows from how many numbers a sum has
    (`grid`), and what a release costs hardly does. `event` states that without it:

    The divergence of order a that is accounted for whole numbers of sensitivity B, with noise of
    variance mu, is at most (`shared.privacy.accounting.rdp`)

        a B^2 / (2 mu) + min(((2 a - 1) B^2 + 6 B^2) / (4 mu^2), 3 B^2 / (2 mu)),

    with B^2 for the sum of magnitudes, since |k| <= k^2. It grows with B and falls with mu; and
    where mu = z^2 B^2 it falls with B. With mu >= z^2 max(B, B0)^2, as `grid` takes it, it is
    therefore at most what it is at B0 and z^2 B0^2, whether B is above B0 or below: `event`.

    References
    ----------
    Agarwal, Kairouz, Liu. The Skellam Mechanism for Differentially Private Federated Learning.
    NeurIPS 2021. https://arxiv.org/abs/2110.04995
    """

    noise_multiplier: float
    clip: L2Clip
    bits: int
    counted: Counted

    def event(self) -> SkellamDpEvent:
        """What a release costs at most one who knows the cohort, with m honest devices."""
        least = self.least_l2_squared
        return SkellamDpEvent(
            variance=self.noise_multiplier**2 * least,
            l2_sensitivity=math.sqrt(least),
            l1_sensitivity=float(least),
        )

    @property
    def least_l2_squared(self) -> int:
        """B0^2: noise is never made for less; the less it is, the more the discrete noise costs."""
        return _least(self.noise_multiplier, self.bits, self.counted)

    @property
    def ring(self) -> Ring:
        """In which messages are added."""
        return Ring(self.bits)

    def grid(self, dim: int) -> ShareGrid:
        """How sums of so many numbers are written.

        Raises
        ------
        ConfigError
            If the ring does not hold them.
        """
        return _grid(self, dim)

    def check(self) -> None:
        """Refuse a ring that holds no sum of a usual size.

        Raises
        ------
        ConfigError
        """
        self.grid(_TYPICAL)

    def release(
        self, total: npt.NDArray[np.floating], source: WordSource
    ) -> npt.NDArray[np.float64]:
        """An opened sum as it is: its noise came with it."""
        return total.astype(np.float64)


@dataclass(frozen=True)
class ShareGrid:
    """The grid of one mechanism for sums of so many numbers, and one device's noise on it.

    Parameters
    ----------
    clip : L2Clip
    ring : Ring
    rounding : StochasticRounding
        Of contributions: C is `rounding.steps` steps.
    share : int
        v, the variance of one device's noise in squared steps, >= 1.
    """

    clip: L2Clip
    ring: Ring
    rounding: StochasticRounding
    share: int

    @property
    def step(self) -> float:
        """Width of the grid, in units of the contribution."""
        return self.clip.norm / self.rounding.steps

    def message(
        self, contribution: npt.NDArray[np.floating], rotation: Rotation, source: WordSource
    ) -> Words:
        """What one device sends: nothing about it shows but in a sum with the others' noise.

        Parameters
        ----------
        contribution : float32 or float64 [dim]
            Clipped. A longer one is cut, one that is not finite counts as zeros.
        rotation : Rotation
            Of all messages of a sum.
        source : WordSource
            The device's own; must not serve two messages with the same key and context.

        Returns
        -------
        uint32 [dim]
            Elements of `ring`.
        """
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            turned = rotation.forward(contribution.astype(np.float64) / self.clip.norm)
        whole = self.rounding.encode(turned, source)
        return self.ring.reduce(whole + SkellamNoise(self.share).draw(source, whole.size))

    def deviation(self, devices: float) -> float:
        """Standard deviation of what is not signal in a number of a sum of so many messages."""
        return self.step * math.sqrt(devices * (self.share + self.rounding.variance))

    def open(self, total: Words, rotation: Rotation) -> npt.NDArray[np.float64]:
        """The noised sum, float64 [dim], that a sum of messages stands for."""
        return rotation.inverse(self.ring.centred(total).astype(np.float64) * self.step)


@functools.lru_cache(maxsize=64)
def _grid(mechanism: SkellamMechanism, dim: int) -> ShareGrid:
    least = mechanism.least_l2_squared
    steps = _steps(mechanism.noise_multiplier, mechanism.bits, mechanism.counted, dim, least)
    if not steps:
        raise ConfigError(
            f"privacy.ring_bits = {mechanism.bits}: too few for sums of {dim} numbers over "
            f"{mechanism.counted.devices} devices with noise multiplier "
            f"{mechanism.noise_multiplier:.3g}; give more, up to 32, or a smaller cohort"
        )
    rounding = StochasticRounding(steps, dim, mechanism.counted.devices)
    share = _share(mechanism.noise_multiplier, mechanism.counted, max(least, rounding.l2_squared))
    return ShareGrid(mechanism.clip, mechanism.ring, rounding, share)


@functools.lru_cache(maxsize=256)
def _least(noise_multiplier: float, bits: int, counted: Counted) -> int:
    """B0^2: as large as the ring allows sums of a usual size, and no larger than is of use."""
    steps = _steps(noise_multiplier, bits, counted, _TYPICAL, 0) or 1.0
    return min(_ENOUGH**2, StochasticRounding(steps, _TYPICAL, counted.devices).l2_squared)


def _share(noise_multiplier: float, counted: Counted, l2_squared: int) -> int:
    """The least variance v of one device's noise of which m have z^2 B^2."""
    return max(1, math.ceil(noise_multiplier**2 * l2_squared / counted.survivors))


def _steps(noise_multiplier: float, bits: int, counted: Counted, dim: int, least: int) -> float:
    """s, the most steps of a clipping norm with which the ring holds a sum; 0 for less than one."""
    devices, room = counted.devices, 2 ** (bits - 1) - 1
    rare = WRAP_BITS + _SUM_BITS + dim.bit_length() + 2  # bits: one number, one of three reasons
    rounded = rounding_error(devices, rare)
    turned = min(1.0, math.sqrt(2 * (rare + 1) * math.log(2) / transform_size(dim)))

    def fits(parts: int) -> bool:
        """Whether there is room for what a number reaches, but with that probability.

        The rotated sum is at most n s long, and no number of it longer (`transform_size`); then
        there is the rounding (`rounding_error`), and the noise of all devices.
        """
        steps = parts / _FRACTION
        squared = max(least, StochasticRounding(steps, dim, devices).l2_squared)
        noise = tail(float(devices * _share(noise_multiplier, counted, squared)), rare)
        return bool(devices * steps * turned + rounded + noise <= room)

    low, high = _FRACTION, _FINEST * _FRACTION + 1
    if not fits(low):
        return 0.0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low / _FRACTION


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
