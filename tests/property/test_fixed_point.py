"""No input moves an encoded sum by more than the stated sensitivity, in exact arithmetic."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.fixed_point import FixedPoint
from shared.secagg.ring import Ring

ANY = st.floats(width=32) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3e38, 1.0])
SHAPES = stn.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=12)
VECTORS = stn.arrays(np.float32, SHAPES, elements=ANY)
WIDE = stn.arrays(np.float64, SHAPES, elements=st.floats() | st.sampled_from([5e-324, 1.7e308]))
NORMS = st.floats(1e-6, 1e6) | st.sampled_from([1e-30, 1e30, 1.0, 0.5])
BITS = st.integers(4, 24)


def norms(whole):
    """Squared L2 norm and L1 norm of each row, in Python's whole numbers."""
    rows = np.atleast_2d(whole).tolist()
    return [(sum(k * k for k in row), sum(abs(k) for k in row)) for row in rows]


def check(grid, whole):
    assert whole.dtype == np.int64
    for squares, total in norms(whole):
        assert squares <= grid.l2_sensitivity**2
        assert total <= grid.l1_sensitivity
        assert total**2 <= whole.shape[-1] * squares  # the other bound on the L1 norm


@settings(max_examples=200, deadline=None)
@given(VECTORS, NORMS, BITS)
def test_what_the_clip_lets_through_stays_within(vectors, norm, bits):
    clip = L2Clip(norm)
    clipped = clip(torch.from_numpy(vectors)).numpy()
    grid = FixedPoint(clip, bits)
    whole = grid.encode(clipped)
    check(grid, whole)
    # Nothing that was clipped is dropped, and no coordinate is longer than it was.
    exact = clipped.astype(np.float64) / clip.norm * grid.l2_sensitivity
    assert (np.abs(whole) <= np.abs(exact) * (1 + 1e-15)).all()
    assert (np.abs(exact - whole) < 1 + 1e-10 * np.abs(exact)).all()


@settings(max_examples=200, deadline=None)
@given(VECTORS | WIDE, NORMS, BITS)
def test_what_was_never_clipped_stays_within_too(vectors, norm, bits):
    grid = FixedPoint(L2Clip(norm), bits)
    check(grid, grid.encode(vectors))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(4, 24), st.floats(0, 1e-9), st.integers(0, 2**32 - 1))
def test_nor_does_one_at_the_very_edge(dim, bits, above, seed):
    direction = np.random.default_rng(seed).normal(size=dim)
    vector = direction / np.linalg.norm(direction) * (1 + above)
    grid = FixedPoint(L2Clip(1.0), bits)
    check(grid, grid.encode(vector))


WHOLE = st.integers(-(2**61), 2**61)


@settings(max_examples=100, deadline=None)
@given(st.lists(WHOLE, min_size=1, max_size=20), st.integers(2, 62))
def test_a_ring_reads_every_sum_in_its_range_rightly(numbers, bits):
    ring = Ring(bits)
    total = ring.reduce(np.zeros(1, dtype=np.int64))
    for number in numbers:
        total = ring.add(total, ring.reduce(np.array([number])))
        assert ring.holds(total)
    half = 2 ** (bits - 1)
    assert int(ring.centred(total)[0]) == (sum(numbers) + half) % 2**bits - half


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**61 - 1))
def test_the_smallest_ring_holds_the_largest_sum(largest):
    ring = Ring.holding(largest)
    ends = np.array([-largest, largest])
    assert ring.centred(ring.reduce(ends)).tolist() == ends.tolist()
    assert ring.bits == 2 or 2 ** (ring.bits - 2) <= largest
