"""Adaptive clipping finds the quantile it is told to, and its noise is what was accounted.

The checks of noise compare with exact null distributions at a level of 1e-7, four of them: with a
fresh key a sound mechanism fails with probability below 1e-6. Where the norm comes to rest is
compared at seven of its own standard deviations (1e-11). Every planted bug must be found by the
check meant for it.
"""

import numpy as np
import pytest
import torch
from scipy import stats

from shared.privacy.contribution.adaptive_clip import QuantileRule, quantile_bits
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.gaussian import UpdateWithBits
from shared.privacy.mechanisms.source import NoiseSource

LEVEL = 1e-7
ROUNDS, DIM, PEOPLE, Q = 400, 50, 400, 0.5
RATE, START = 0.2, 30.0  # far above every norm
Z, COUNT_NOISE = 1.3, 10.0
SPREAD, MEDIAN = 0.8, 0.05  # norms are log-normal

pytestmark = pytest.mark.statistical


def bits_before_the_clip(clip, updates):
    return quantile_bits(clip, updates)


def bits_after_the_clip(clip, updates):
    return quantile_bits(clip, clip(updates))


def trajectory(quantile, bits_of=bits_before_the_clip, rounds=ROUNDS):
    """Clipping norms [rounds] of a federation whose people's norms never change."""
    rng = np.random.default_rng(3)
    lengths = MEDIAN * np.exp(SPREAD * rng.standard_normal(PEOPLE))
    updates = torch.from_numpy(lengths[:, None] * np.eye(1, 4))  # [people, 4]
    rule = QuantileRule(quantile, RATE, START)
    mechanism = UpdateWithBits.of(Z, COUNT_NOISE)
    norm, norms = START, []
    for number in range(rounds):
        here = updates[torch.from_numpy(rng.random(PEOPLE) < Q)]
        clip = L2Clip(norm)
        total = np.append(clip(here).sum(0).numpy() / norm, float(bits_of(clip, here).sum()))
        released = mechanism.release(total, NoiseSource.seeded(5, "update", number))
        norm = rule.next(norm, float(released[-1]), Q * PEOPLE)
        norms.append(norm)
    return np.array(norms), lengths


def misses(quantile, bits_of=bits_before_the_clip) -> bool:
    """Whether the mean of the last half is not within seven standard deviations of the quantile.

    Near rest log C is a process of step eta and slope s, the density of log norms: its standard
    deviation is eta sigma / sqrt(2 eta s), that of a mean over T rounds sigma / (s sqrt(T)).
    """
    norms, lengths = trajectory(quantile, bits_of)
    rested = np.log(norms[ROUNDS // 2 :])
    target = np.log(np.quantile(lengths, quantile))
    slope = stats.norm.pdf(stats.norm.ppf(quantile)) / SPREAD
    noise = np.hypot(COUNT_NOISE, np.sqrt(PEOPLE * Q * (1 - Q)) / 2) / (PEOPLE * Q)
    return bool(abs(rested.mean() - target) > 7 * noise / (slope * np.sqrt(len(rested))))


@pytest.mark.parametrize("quantile", [0.3, 0.5, 0.8])
def test_the_norm_comes_to_rest_at_the_quantile(quantile):
    assert not misses(quantile)


def test_bits_of_what_was_clipped_already_are_found_out():
    assert misses(0.5, bits_after_the_clip)  # everything is within its clip: the norm only falls


def findings(release, event=None) -> set[str]:
    """What is wrong with the noise of many joint releases; z and sigma as the event states them."""
    total = np.linspace(-1, 1, DIM + 1)
    released = np.stack([release(total, NoiseSource.seeded(9, n)) for n in range(ROUNDS)])
    noise = released - total  # [rounds, dim + 1]
    stated = UpdateWithBits.of(Z, COUNT_NOISE).event(1.0).event.events
    update = noise[:, :-1] / stated[0].noise_multiplier
    bits = noise[:, -1] / (stated[1].noise_multiplier / 2)  # the sensitivity of a bit is 1/2
    p = {
        "update": two_sided(stats.chi2(update.size).cdf((update**2).sum())),
        "bits": two_sided(stats.chi2(bits.size).cdf((bits**2).sum())),
        "mean": 2 * stats.norm.sf(abs(bits.mean()) * np.sqrt(bits.size)),
        "apart": 2 * stats.norm.sf(abs((update[:, 0] * bits).mean()) * np.sqrt(bits.size)),
    }
    return {name for name, value in p.items() if value < LEVEL}


def two_sided(cdf: float) -> float:
    return 2 * min(cdf, 1 - cdf)


def sound(total, source):
    return UpdateWithBits.of(Z, COUNT_NOISE).release(total, source)


def test_the_noise_is_what_was_accounted():
    assert findings(sound) == set()


def bits_without_noise(total, source):
    return np.append(sound(total, source)[:-1], total[-1])


def half_the_bits_noise(total, source):
    return np.append(sound(total, source)[:-1], (sound(total, source)[-1] + total[-1]) / 2)


def noise_before_the_split(total, source):
    """z itself on the update: the bits would come for nothing."""
    exact = UpdateWithBits.of(Z, COUNT_NOISE)
    smaller = Z / exact.update.noise_multiplier
    return np.append(total[:-1] + smaller * (sound(total, source)[:-1] - total[:-1]), total[-1])


def one_draw_for_both(total, source):
    exact = UpdateWithBits.of(Z, COUNT_NOISE)
    drawn = (sound(total, source) - total)[:-1]
    scale = exact.bits.standard_deviation / exact.update.standard_deviation
    return np.append(total[:-1] + drawn, total[-1] + scale * drawn[0])


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        (bits_without_noise, "bits"),
        (half_the_bits_noise, "bits"),
        (noise_before_the_split, "bits"),
        (one_draw_for_both, "apart"),
    ],
)
def test_planted_bugs_are_found(planted, found):
    assert found in findings(planted)
