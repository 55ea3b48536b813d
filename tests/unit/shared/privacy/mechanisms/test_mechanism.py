"""What the Gaussian mechanism releases and reports."""

import math

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, NonPrivateDpEvent, PoissonSampledDpEvent

from shared.errors import ConfigError, ProtocolError
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource


def test_release_is_the_sum_plus_z_times_c_times_the_source() -> None:
    total = np.linspace(-1, 1, 6, dtype=np.float32)
    released = GaussianMechanism(1.5, L2Clip(0.2)).release(total, NoiseSource.seeded(4))
    expected = total.astype(np.float64) + 1.5 * 0.2 * NoiseSource.seeded(4).normal(6)
    np.testing.assert_allclose(released, expected, rtol=1e-15)
    assert released.dtype == np.float64


def test_an_empty_cohort_releases_noise() -> None:
    released = GaussianMechanism(1.0, L2Clip(1.0)).release(np.zeros(5), NoiseSource.seeded(4))
    assert np.abs(released).min() > 0


def test_without_noise_the_sum_is_copied() -> None:
    total = np.ones(3)
    released = GaussianMechanism(0.0, L2Clip(1.0)).release(total, NoiseSource.seeded(4))
    released[0] = 9.0
    assert total[0] == 1.0


def test_events() -> None:
    mechanism = GaussianMechanism(2.0, L2Clip(1.0))
    assert mechanism.event(1.0) == GaussianDpEvent(2.0)
    assert mechanism.event(0.1) == PoissonSampledDpEvent(0.1, GaussianDpEvent(2.0))
    assert GaussianMechanism(0.0, L2Clip(1.0)).event(0.1) == NonPrivateDpEvent()


@pytest.mark.parametrize("noise", [-0.1, math.nan, math.inf])
def test_refuses_noise_out_of_range(noise: float) -> None:
    with pytest.raises(ConfigError, match="noise multiplier"):
        GaussianMechanism(noise, L2Clip(1.0))


@pytest.mark.parametrize("q", [0.0, -0.5, 1.1, math.nan])
def test_refuses_a_sampling_probability_out_of_range(q: float) -> None:
    with pytest.raises(ConfigError, match="sampling probability"):
        GaussianMechanism(1.0, L2Clip(1.0)).event(q)


@pytest.mark.parametrize("total", [np.ones((2, 2)), np.array([1.0, math.nan])])
def test_refuses_a_sum_that_is_no_finite_vector(total: np.ndarray) -> None:
    with pytest.raises(ProtocolError, match="sum of shape"):
        GaussianMechanism(1.0, L2Clip(1.0)).release(total, NoiseSource.seeded(0))
