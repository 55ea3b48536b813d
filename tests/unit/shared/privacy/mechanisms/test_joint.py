"""A round with bits: what it costs, and that it costs no more than a round without."""

import math

import numpy as np
import pytest
from dp_accounting import ComposedDpEvent, GaussianDpEvent, NonPrivateDpEvent, PoissonSampledDpEvent

from shared.errors import ConfigError, ProtocolError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.accounting.events import event_from_json, event_to_json
from shared.privacy.accounting.steps import Step, steps_of
from shared.privacy.contribution.adaptive_clip import BIT_CLIP, QuantileRule
from shared.privacy.mechanisms.gaussian import UpdateWithBits, is_joint
from shared.privacy.mechanisms.source import NoiseSource


@pytest.mark.parametrize("z", [0.3, 1.0, 3.4, 50.0])
@pytest.mark.parametrize("count_noise", [0.5, 5.0, 500.0])
def test_both_parts_together_cost_what_the_round_may(z, count_noise):
    mechanism = UpdateWithBits.of(z, count_noise)
    update, bits = mechanism.update.noise_multiplier, mechanism.bits.noise_multiplier
    assert mechanism.noise_multiplier == pytest.approx(z, rel=1e-12)
    assert update**-2 + bits**-2 == pytest.approx(z**-2, rel=1e-12)
    assert bits**-2 <= 0.1 * z**-2 * (1 + 1e-12)  # at most a tenth for the count
    assert update <= z / math.sqrt(0.9) * (1 + 1e-12)
    if count_noise >= math.sqrt(10) * z / 2:
        # The standard deviation of the noise on the sum of bits of +-1/2, not of 0 and 1.
        assert mechanism.bits.standard_deviation == pytest.approx(count_noise)


@pytest.mark.parametrize("q", [0.2, 1.0])
def test_a_round_is_one_event_of_one_sample(q):
    event = UpdateWithBits.of(1.5, 10.0).event(q)
    assert type(event) is PoissonSampledDpEvent
    assert type(event.event) is ComposedDpEvent
    assert is_joint(event)
    assert event_from_json(event_to_json(event)) == event
    (step,) = steps_of([(event, 7)])
    assert step == pytest.approx((1.5, q, 7), rel=1e-12)


def test_the_ledger_counts_the_bits():
    """Sampled apart, the two parts would cost more; without the bits, less."""
    q, times, delta = 0.3, 20, 1e-4
    mechanism = UpdateWithBits.of(1.2, 3.0)
    joint = epsilon([(mechanism.event(q), times)], delta)
    alone = epsilon([(mechanism.update.event(q), times)], delta)
    assert joint == pytest.approx(epsilon([(Step(1.2, q, 1).event(), times)], delta), rel=1e-9)
    assert alone < joint


def test_without_noise_nothing_is_private():
    mechanism = UpdateWithBits.of(0.0, 5.0)
    assert mechanism.noise_multiplier == 0
    assert mechanism.event(0.5) == NonPrivateDpEvent()
    total = np.array([1.0, 2.0, -0.5])
    np.testing.assert_array_equal(mechanism.release(total, NoiseSource.seeded(1)), total)


def test_others_are_not_joint():
    both = ComposedDpEvent([GaussianDpEvent(1.0), GaussianDpEvent(2.0)])
    assert not is_joint(both)
    assert not is_joint(PoissonSampledDpEvent(0.5, GaussianDpEvent(1.0)))


@pytest.mark.parametrize("q", [0.0, 1.5, math.nan])
def test_a_probability_that_is_none_is_refused(q):
    with pytest.raises(ConfigError, match="sampling probability"):
        UpdateWithBits.of(1.0, 1.0).event(q)


def test_a_sum_without_bits_is_refused():
    with pytest.raises(ProtocolError, match=r"expected \[dim \+ 1\]"):
        UpdateWithBits.of(1.0, 1.0).release(np.zeros(1), NoiseSource.seeded(1))


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan, math.inf])
def test_a_count_noise_that_is_none_is_refused(noise):
    with pytest.raises(ConfigError, match="count noise"):
        UpdateWithBits.of(1.0, noise)


def test_the_rule_moves_against_the_share_that_is_within():
    rule = QuantileRule(quantile=0.5, rate=0.2, start=1.0)
    assert rule.next(1.0, bits=0.0, expected=10.0) == 1.0  # half of them are within
    everyone, nobody = 10 * BIT_CLIP.norm, -10 * BIT_CLIP.norm
    assert rule.next(1.0, everyone, 10.0) == pytest.approx(math.exp(-0.1))
    assert rule.next(1.0, nobody, 10.0) == pytest.approx(math.exp(0.1))


@pytest.mark.parametrize(("quantile", "rate"), [(0, 0.2), (1, 0.2), (0.5, 0), (0.5, math.inf)])
def test_a_rule_that_is_none_is_refused(quantile, rate):
    with pytest.raises(ConfigError, match="expected a"):
        QuantileRule(quantile, rate, 1.0)
