import numpy as np
import pytest

from shared.errors import ConfigError
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.fixed_point import FixedPoint
from shared.secagg.ring import Ring


def test_numbers_are_cut_towards_zero_on_a_grid_of_the_clipping_norm():
    grid = FixedPoint(L2Clip(0.5), 4)  # a step is 1/32
    numbers = np.array([0.099, -0.099, 0.03, -0.03, 0.0626])  # 3.168, 0.96 and 2.003 steps
    assert grid.encode(numbers).tolist() == [3, -3, 0, 0, 2]
    assert grid.decode(np.array([3, -16])).tolist() == [3 / 32, -0.5]


def test_a_contribution_longer_than_the_norm_or_without_a_length_is_nothing():
    grid = FixedPoint(L2Clip(1.0), 8)
    rows = np.array([[0.8, 0.7], [np.nan, 0.1], [np.inf, 0.0], [1e300, 1e300], [0.6, 0.7]])
    assert grid.encode(rows).tolist() == [[0, 0]] * 4 + [[153, 179]]


def test_rows_do_not_touch_each_other():
    grid = FixedPoint(L2Clip(1.0), 8)
    rows = np.random.default_rng(0).normal(0, 0.2, (50, 9)).astype(np.float32)
    together = grid.encode(rows)
    assert np.array_equal(together, np.stack([grid.encode(row) for row in rows]))


@pytest.mark.parametrize("bits", [3, 25])
def test_a_grid_too_coarse_or_too_fine_is_refused(bits):
    with pytest.raises(ConfigError, match=f"grid of {bits} bits: expected 4 to 24"):
        FixedPoint(L2Clip(1.0), bits)


@pytest.mark.parametrize("bits", [1, 63])
def test_a_ring_outside_the_words_is_refused(bits):
    with pytest.raises(ConfigError, match=f"ring of {bits} bits: expected 2 to 62"):
        Ring(bits)


def test_sums_that_no_ring_holds_are_refused():
    with pytest.raises(ConfigError, match="need 63 bits, more than 62"):
        Ring.holding(2**61)


def test_elements_travel_in_the_narrowest_words():
    assert Ring(32).words == np.uint32
    assert Ring(33).words == np.uint64
    assert Ring(20).reduce(np.array([-1])).tolist() == [2**20 - 1]


def test_what_is_no_element_is_seen():
    ring = Ring(20)
    assert ring.holds(np.array([2**20 - 1], dtype=np.uint32))
    assert not ring.holds(np.array([2**20], dtype=np.uint32))
    assert not ring.holds(np.array([1], dtype=np.int64))
    assert not ring.holds(np.array([1.0], dtype=np.float32))
    assert ring.holds(np.array([], dtype=np.uint32))
