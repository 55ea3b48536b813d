"""Correlated noise: its recurrence, its repeatability and what it refuses."""

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, NonPrivateDpEvent

from shared.errors import ConfigError, ProtocolError
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.correlated import CorrelatedMechanism, CorrelatedNoise
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.mechanisms.toeplitz import banded_square_root

ROUNDS, SIZE = 7, 50
MATRIX = banded_square_root(ROUNDS, 3, 0.4)


def independent(row: int) -> NoiseSource:
    return NoiseSource.seeded(5, row)


def noise(bands: int = 3) -> CorrelatedNoise:
    return CorrelatedNoise(banded_square_root(ROUNDS, bands, 0.4), independent)


def mechanism(z: float = 1.5) -> CorrelatedMechanism:
    return CorrelatedMechanism(z, L2Clip(2.0), MATRIX, participations=2, separation=3)


def test_rows_are_the_inverse_times_independent_ones() -> None:
    rows = noise()
    drawn = np.stack([rows.row(t).normal(SIZE) for t in range(1, ROUNDS + 1)])
    z = np.stack([independent(t).normal(SIZE) for t in range(1, ROUNDS + 1)])
    np.testing.assert_allclose(drawn, np.linalg.inv(MATRIX.dense()) @ z, atol=1e-12)


def test_one_band_is_independent_noise() -> None:
    rows = noise(bands=1)
    for t in (1, 2, 5):
        np.testing.assert_array_equal(rows.row(t).normal(SIZE), independent(t).normal(SIZE))


@pytest.mark.parametrize("order", [[7, 3, 4, 1], [2, 2, 5], [6]])
def test_a_row_does_not_depend_on_what_was_asked_before(order: list[int]) -> None:
    rows = noise()
    for t in order:  # skipped, repeated, going back
        np.testing.assert_array_equal(rows.row(t).normal(SIZE), noise().row(t).normal(SIZE))


def test_what_a_caller_does_to_a_row_does_not_reach_the_next() -> None:
    rows = noise()
    rows.row(1).normal(SIZE)[:] = 0
    np.testing.assert_array_equal(rows.row(2).normal(SIZE), noise().row(2).normal(SIZE))


def test_another_size_is_another_draw() -> None:
    rows = noise()
    rows.row(1).normal(SIZE)
    assert len(rows.row(2).normal(SIZE + 1)) == SIZE + 1


@pytest.mark.parametrize("row", [0, -1, ROUNDS + 1])
def test_a_row_beyond_the_guarantee_is_refused(row: int) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 7"):
        noise().row(row)


def test_a_release_adds_the_scaled_row() -> None:
    total = np.linspace(-1, 1, SIZE)
    released = mechanism().release(total, noise().row(4))
    scale = 1.5 * MATRIX.sensitivity(2, 3) * 2.0
    assert mechanism().standard_deviation == scale
    np.testing.assert_allclose(released - total, scale * noise().row(4).normal(SIZE), rtol=1e-12)


def test_all_rounds_together_are_one_gaussian() -> None:
    assert mechanism().event() == GaussianDpEvent(1.5)
    assert mechanism(0.0).event() == NonPrivateDpEvent()


def test_no_amplification_is_claimed() -> None:
    with pytest.raises(ConfigError, match="not amplified"):
        mechanism().event(0.5)


def test_bad_sums_and_multipliers_are_refused_as_for_independent_noise() -> None:
    with pytest.raises(ProtocolError, match="finite"):
        mechanism().release(np.array([np.nan]), noise().row(1))
    with pytest.raises(ConfigError, match="noise multiplier"):
        mechanism(-1.0)


def test_kept_noise_depends_on_all_of_key_and_context() -> None:
    key, other = bytes(32), bytes(31) + b"\x01"
    first = NoiseSource.kept(key, "a", 1).normal(SIZE)
    np.testing.assert_array_equal(first, NoiseSource.kept(key, "a", 1).normal(SIZE))
    for source in (NoiseSource.kept(other, "a", 1), NoiseSource.kept(key, "a", 2)):
        assert np.abs(source.normal(SIZE) - first).min() > 0


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="16 bytes"):
        NoiseSource.kept(bytes(16))
