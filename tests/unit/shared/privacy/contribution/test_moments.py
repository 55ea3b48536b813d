"""Nobody's share of what people have together is longer than one, whatever basis is sent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shared.errors import ProtocolError
from shared.privacy.contribution.moments import (
    COORDINATES,
    Basis,
    moments_basis,
    moments_size,
    user_moments,
)

ITEMS = 30
RNG = np.random.default_rng(0)
COUNTS = RNG.gamma(1.0, 5.0, ITEMS)
TEXT = RNG.standard_normal((ITEMS, 6)).astype(np.float32)
BASIS = moments_basis(COUNTS, 0.5, {"text": TEXT})


def norm(share):
    return float(np.linalg.norm(share.astype(np.float64)))


def slow(history, basis):
    """The formula, pair by pair."""
    mine, at = history[:-2] if len(history) >= 3 else history, basis.items.tolist()
    near = np.zeros((len(at), len(at)))
    for i, one in enumerate(mine):
        for j, other in enumerate(mine):
            if one != other and one in at and other in at:
                near[at.index(one), at.index(other)] += np.exp(-abs(i - j) / 8)
    cut = np.diag(basis.scale**-0.25) @ basis.vectors
    entries = cut.T @ near @ cut
    both = np.where(basis.first == basis.second, 1.0, 2.0**0.5)  # entries that one stands for
    found = entries[basis.first, basis.second] * both
    return found / (np.linalg.norm(found) or 1.0)


@given(history=st.permutations(range(4 * ITEMS)), n=st.integers(0, 4 * ITEMS))
@settings(max_examples=40, deadline=None)
def test_it_is_what_the_formula_says_and_of_length_one(history, n):
    history = np.array(history[:n], dtype=np.int64)  # three in four items are unknown
    share = user_moments(history, BASIS)
    np.testing.assert_allclose(share, slow(history, BASIS), atol=2e-5)
    mine = history[:-2] if n >= 3 else history
    assert norm(share) == pytest.approx(float((mine < ITEMS).sum() >= 2), abs=1e-6)


def test_two_items_far_apart_are_as_long_as_two_side_by_side():
    far = np.array([1, *range(ITEMS, ITEMS + 40), 2, 98, 99])
    assert norm(user_moments(far, BASIS)) == pytest.approx(1.0, abs=1e-6)


@given(
    history=hnp.arrays(np.int64, st.integers(0, 60), elements=st.integers(0, ITEMS + 5)),
    scale=hnp.arrays(np.float32, ITEMS, elements=st.floats(width=32)),
    vectors=hnp.arrays(np.float32, (ITEMS, ITEMS), elements=st.floats(width=32), fill=st.just(1.0)),
)
@settings(max_examples=60, deadline=None)
def test_no_basis_makes_it_longer(history, scale, vectors):
    given_ = {**BASIS.arrays(), "scale": scale, "vectors": vectors}
    share = user_moments(history, Basis.of(given_))
    assert share.dtype == np.float32
    assert np.isfinite(share).all()
    assert norm(share) <= 1 + 1e-12


@given(history=st.permutations(range(ITEMS)))
@settings(max_examples=30, deadline=None)
def test_rounding_makes_it_no_longer(history):
    assert norm(user_moments(np.array(history), BASIS)) <= 1 + 1e-12


def test_infinite_entries_give_nothing():
    for vectors in (np.full((ITEMS, ITEMS), np.inf), np.full((ITEMS, ITEMS), np.nan)):
        basis = Basis.of({**BASIS.arrays(), "vectors": vectors.astype(np.float32)})
        assert not user_moments(np.arange(ITEMS), basis).any()
    large = Basis.of({**BASIS.arrays(), "vectors": np.full((ITEMS, ITEMS), 1e30, np.float32)})
    assert not user_moments(np.arange(ITEMS), large).any()


@pytest.mark.parametrize(
    "history",
    [[], [3], [3, 3, 3, 3, 3, 3], [*range(ITEMS)] * 400, [99, 98, 97, 96, 95]],
    ids=["empty", "one item", "one repeated", "12,000", "unknown"],
)
def test_ends_of_histories(history):
    share = user_moments(np.array(history, dtype=np.int64), BASIS)
    assert np.isfinite(share).all()
    assert norm(share) == pytest.approx(float(len(history) > 1000), abs=1e-6)


BROKEN = {
    "a missing array": {"scale": None},
    "another type": {"items": BASIS.items.astype(np.int64)},
    "another shape": {"vectors": BASIS.vectors[:-1]},
    "a coordinate that is none": {"first": BASIS.first + ITEMS},
    "a negative coordinate": {"second": BASIS.second - ITEMS},
    "unequal coordinates": {"second": BASIS.second[:-1]},
}


@pytest.mark.parametrize("changed", BROKEN.values(), ids=list(BROKEN))
def test_what_is_no_basis_is_refused(changed):
    arrays = {**BASIS.arrays(), **changed}
    with pytest.raises(ProtocolError, match="moments: "):
        Basis.of({name: array for name, array in arrays.items() if array is not None})


def test_a_basis_is_of_the_items_with_the_largest_counts():
    basis = moments_basis(COUNTS, 0.5, {"text": TEXT})
    assert basis.items.tolist() == np.argsort(-COUNTS).tolist()
    assert basis.scale.mean() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(basis.vectors.T @ basis.vectors, np.eye(ITEMS), atol=1e-5)
    assert (np.diff(basis.leading) <= 0).all()
    assert (len(basis.items), len(basis.leading), basis.dim) == moments_size(ITEMS)
    assert moments_size(10**6) == (1500, 700, COORDINATES)
