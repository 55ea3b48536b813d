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
from shared.privacy.contribution.moments import MOMENTS_CLIP
from shared.privacy.guarantee import Guarantee
from shared.privacy.mechanisms.distributed import Counted, SkellamMechanism


@dataclass(frozen=True)
class SharedSum:
    """A kind of sum whose noise comes in shares, before the noise is known.

    Attributes
    ----------
    clip : L2Clip
        Of a contribution.
    bits : int
        Of a number of a message.
    counted : Counted
        On how many devices.
    """

    clip: L2Clip
    bits: int
    counted: Counted

    @classmethod
    def of(cls, config: ExperimentConfig, clip: L2Clip, expected: float, users: int) -> SharedSum:
        """Over a cohort of so many expected users.

        Raises
        ------
        ConfigError
            If it cannot count on anyone's noise.
        """
        privacy = config.privacy
        counted = Counted.on(privacy.min_survivors, privacy.colluding, expected, users)
        return cls(clip, privacy.ring_bits, counted)

    def with_noise(self, noise_multiplier: float) -> SkellamMechanism:
        """The mechanism with noise multiplier z."""
        return SkellamMechanism(noise_multiplier, self.clip, self.bits, self.counted)


def update_sum(config: ExperimentConfig, users: int) -> SharedSum:
    """Of a round's updates; errors as `SharedSum.of`."""
    expected = config.federation.expected_cohort(users)
    return SharedSum.of(config, L2Clip(config.privacy.clipping_norm), expected, users)


def histogram_sum(config: ExperimentConfig, users: int) -> SharedSum:
    """Of the popularity histogram; errors as `SharedSum.of`."""
    expected = config.federation.expected_popularity_cohort(users)
    return SharedSum.of(config, HISTOGRAM_CLIP, expected, users)


def moments_sum(config: ExperimentConfig, users: int) -> SharedSum:
    """Of what people have together; errors as `SharedSum.of`."""
    expected = config.federation.expected_popularity_cohort(users)
    return SharedSum.of(config, MOMENTS_CLIP, expected, users)


@functools.lru_cache(maxsize=64)
def calibrate_shares(
    guarantee: Guarantee, main: SharedSum, times: int, beside: tuple[tuple[SharedSum, float], ...]
) -> tuple[SkellamMechanism, ...]:
    """The least noise with which `times` main sums and others beside stay within a budget.

    As `shared.privacy.accounting.accountant.calibrate`, un-amplified: each sum beside, released
    once, has its share of the squared signal-to-noise ratio of a release that would spend the whole
    budget, the main ones the rest.

    Parameters
    ----------
    guarantee : Guarantee
        Its budget is finite.
    main : SharedSum
        Of updates; where there are no rounds, of the histogram.
    times : int
        How often that is released, >= 1.
    beside : tuple of (SharedSum, float)
        Each with its share, in (0, 1); together below 1.

    Returns
    -------
    tuple of SkellamMechanism
        Of the main sum, then of those beside.

    Raises
    ------
    ConfigError
        If the budget is out of reach, or sums with so much noise do not fit into their ring.
    """

    def noised(one: SharedSum, share: float) -> SkellamMechanism:
        def alone(z: float) -> float:
            return epsilon(one.with_noise(z).event(), *guarantee.counted)

        return one.with_noise(least_noise(alone, guarantee.budget) / math.sqrt(share))

    others = [noised(*each) for each in beside]
    spent = [(other.event(), 1) for other in others]

    def together(z: float) -> float:
        return epsilon([(main.with_noise(z).event(), times), *spent], *guarantee.counted)

    found = main.with_noise(least_noise(together, guarantee.budget)), *others
    for each in found:
        each.check()
    return found
