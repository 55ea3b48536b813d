"""Nobody's share of what people have together is longer than one, whatever basis is sent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shared.errors import ProtocolError
from shared.privacy.contribution.moments import (
    COORDINATES,
    EXACT,
    Basis,
    exact_basis,
    moments_basis,
    moments_size,
    user_moments,
)

ITEMS = 30
RNG = np.random.default_rng(0)
COUNTS = RNG.gamma(1.0, 5.0, ITEMS)
TEXT = RNG.standard_normal((ITEMS, 6)).astype(np.float32)
BASIS = moments_basis(COUNTS, 0.5, {"text": TEXT})
PAIRS = exact_basis(COUNTS)


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


def slow_pairs(history, basis):
    """How near two items are, summed over their places, each pair once for both its orders."""
    mine, at = history[:-2] if len(history) >= 3 else history, basis.items.tolist()
    found = dict.fromkeys(zip(*np.triu_indices(len(at), 1), strict=True), 0.0)
    for i, one in enumerate(mine):
        for j, other in enumerate(mine):
            if one in at and other in at and at.index(one) < at.index(other):
                found[at.index(one), at.index(other)] += np.exp(-abs(i - j) / 8)
    pairs = np.array(list(found.values())) * 2.0**0.5  # each stands for two
    return pairs / (np.linalg.norm(pairs) or 1.0)


@given(history=st.lists(st.integers(0, 2 * ITEMS), max_size=60))
@settings(max_examples=40, deadline=None)
def test_without_noise_each_pair_of_items_is_a_coordinate(history):
    share = user_moments(np.array(history, dtype=np.int64), PAIRS)
    np.testing.assert_allclose(share, slow_pairs(history, PAIRS), atol=1e-6)
    assert norm(share) <= 1 + 1e-12


def test_pairs_are_of_the_items_with_the_largest_counts():
    assert PAIRS.items.tolist() == np.argsort(-COUNTS).tolist()
    assert (len(PAIRS.items), 0, PAIRS.dim) == moments_size(ITEMS, exact=True)
    again = Basis.of(PAIRS.arrays())
    assert again.exact
    assert moments_size(10**6, exact=True) == (EXACT, 0, EXACT * (EXACT - 1) // 2)


def test_pairs_of_more_items_than_fit_are_refused():
    many = {"items": np.arange(EXACT + 1, dtype=np.int32), "scale": np.ones(EXACT + 1, np.float32)}
    many["vectors"] = np.zeros((EXACT + 1, 0), dtype=np.float32)
    with pytest.raises(ProtocolError, match=f"expected at most {EXACT}"):
        Basis.of({**PAIRS.arrays(), **many})
    with pytest.raises(ProtocolError, match="moments: "):
        Basis.of({**PAIRS.arrays(), "first": BASIS.first, "second": BASIS.second})


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
