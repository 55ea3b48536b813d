"""The least shares of noise with which a plan of releases stays within its budget."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from shared.config import ExperimentConfig
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.accounting.search import least_noise
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.contribution.histogram import HISTOGRAM_CLIP
from shared.privacy.guarantee import Guarantee
from shared.privacy.mechanisms.distributed import SkellamMechanism, fewest_survivors, largest_cohort
from shared.privacy.mechanisms.fixed_point import FixedPoint


@dataclass(frozen=True)
class SharedSum:
    """A kind of sum whose noise comes in shares, before the noise is known.

    Attributes
    ----------
    grid : FixedPoint
    survivors, devices : int
        The fewest and the most devices in a sum; see `SkellamMechanism`.
    """

    grid: FixedPoint
    survivors: int
    devices: int

    @classmethod
    def of(cls, config: ExperimentConfig, clip: L2Clip, expected: float, users: int) -> SharedSum:
        """Over a cohort of so many expected users.

        Raises
        ------
        ConfigError
            If the cohort may be nobody, or needs too large a ring.
        """
        privacy = config.privacy
        return cls(
            FixedPoint(clip, privacy.grid_bits),
            fewest_survivors(privacy.min_survivors, expected, users),
            largest_cohort(expected, users),
        )

    def with_noise(self, noise_multiplier: float) -> SkellamMechanism:
        """See `SkellamMechanism.with_noise`."""
        return SkellamMechanism.with_noise(
            noise_multiplier, self.grid, self.survivors, self.devices
        )


def update_sum(config: ExperimentConfig, users: int) -> SharedSum:
    """Of a round's updates; errors as `SharedSum.of`."""
    expected = config.federation.expected_cohort(users)
    return SharedSum.of(config, L2Clip(config.privacy.clipping_norm), expected, users)


def histogram_sum(config: ExperimentConfig, users: int) -> SharedSum:
    """Of the popularity histogram; errors as `SharedSum.of`."""
    expected = config.federation.expected_popularity_cohort(users)
    return SharedSum.of(config, HISTOGRAM_CLIP, expected, users)


@functools.lru_cache(maxsize=64)
def calibrate_shares(
    guarantee: Guarantee,
    updates: SharedSum,
    times: int,
    histogram: SharedSum | None = None,
    histogram_share: float = 0.0,
) -> tuple[SkellamMechanism, SkellamMechanism | None]:
    """The least noise with which one histogram and `times` updates stay within a budget.

    As `shared.privacy.accounting.accountant.calibrate`, un-amplified: the histogram has that share
    of the squared signal-to-noise ratio of a release that would spend the whole budget, the
    updates the rest.

    Parameters
    ----------
    guarantee : Guarantee
        Its budget is finite.
    updates, histogram : SharedSum
        None if there is no histogram.
    times : int
        Updates that count, >= 1.
    histogram_share : float
        In (0, 1), where there is a histogram.

    Raises
    ------
    ConfigError
        If the budget is out of reach.
    """
    first = None
    spent = []
    if histogram is not None:

        def alone(z: float) -> float:
            return epsilon(histogram.with_noise(z).event(), *guarantee.counted)

        z_1 = least_noise(alone, guarantee.budget)
        first = histogram.with_noise(z_1 / math.sqrt(histogram_share))
        spent = [(first.event(), 1)]

    def together(z: float) -> float:
        return epsilon([(updates.with_noise(z).event(), times), *spent], *guarantee.counted)

    return updates.with_noise(least_noise(together, guarantee.budget)), first
