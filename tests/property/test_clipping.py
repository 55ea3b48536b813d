"""No input, however hostile, contributes more than the sensitivity."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from hypothesis.extra import numpy as hnp

from shared.privacy.contribution.clipping import L2Clip

Clip = Callable[[torch.Tensor], torch.Tensor]

# NaN, infinities, zeros, denormals and the largest numbers are all among these.
numbers = st.floats(width=32, allow_subnormal=True) | st.sampled_from(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3.4e38, -3.4e38, 1.0]
)
rows = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=9), elements=numbers
)
wide_rows = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=1, max_dims=2, max_side=9),
    elements=st.floats(allow_subnormal=True) | st.sampled_from([np.nan, 1e308, 5e-324]),
)
norms = st.floats(1e-30, 1e30)


def is_bounded(clip: Clip, norm: float, values: np.ndarray[Any, Any]) -> bool:
    clipped = clip(torch.from_numpy(values.copy()))
    lengths = np.sqrt((clipped.numpy().astype(np.float64) ** 2).sum(axis=-1))
    return clipped.shape == values.shape and bool((lengths <= norm * (1 + 1e-12)).all())


@settings(max_examples=300, deadline=None)
@given(values=rows, norm=norms)
def test_every_contribution_is_bounded(values: np.ndarray[Any, Any], norm: float) -> None:
    assert is_bounded(L2Clip(norm), norm, values)


@settings(max_examples=150, deadline=None)
@given(values=wide_rows, norm=norms)
def test_every_float64_contribution_is_bounded(values: np.ndarray[Any, Any], norm: float) -> None:
    assert is_bounded(L2Clip(norm), norm, values)


@settings(max_examples=100, deadline=None)
@given(values=rows, norm=norms)
def test_clipping_twice_changes_nothing(values: np.ndarray[Any, Any], norm: float) -> None:
    once = L2Clip(norm)(torch.from_numpy(values.copy()))
    assert torch.equal(L2Clip(norm)(once), once)


@settings(max_examples=100, deadline=None)
@given(values=rows, norm=norms)
def test_replacing_a_row_moves_the_sum_by_at_most_the_sensitivity(
    values: np.ndarray[Any, Any], norm: float
) -> None:
    clip = L2Clip(norm)
    clipped = clip(torch.from_numpy(values.copy())).double().reshape(-1, values.shape[-1])
    distance = (clipped[0] - clipped[-1]).norm()
    assert distance <= clip.sensitivity("replace_one") * (1 + 1e-12)
    assert clipped.norm(dim=1).max() <= clip.sensitivity("zero_out") * (1 + 1e-12)


# Negative controls: mistakes that have been made elsewhere; the property must find each.


def divides_by_the_norm(updates: torch.Tensor) -> torch.Tensor:
    """Rounds upwards half of the time."""
    return updates * (1.0 / updates.norm(dim=-1, keepdim=True).clamp(min=1.0))


def multiplies_bad_rows_by_zero(updates: torch.Tensor) -> torch.Tensor:
    """NaN times zero is NaN."""
    finite = updates.isfinite().all(dim=-1, keepdim=True)
    return L2Clip(1.0)(torch.nan_to_num(updates)) * finite + updates * ~finite * 0


def clips_the_whole_batch(updates: torch.Tensor) -> torch.Tensor:
    """One scale for all rows is a bound on the average, not on each."""
    length = torch.nan_to_num(updates).double().norm(dim=-1).mean()
    return torch.nan_to_num(updates) * min(1.0, 1.0 / float(length or 1.0))


def clips_coordinates(updates: torch.Tensor) -> torch.Tensor:
    """A box is wider than the ball."""
    return torch.nan_to_num(updates).clamp(-1, 1)


def sums_squares_in_float32(updates: torch.Tensor) -> torch.Tensor:
    """Tiny squares vanish, huge ones overflow; here the norm forgets all but the first number."""
    length = updates[..., :1].abs()
    return torch.where(length > 1, updates / length, torch.nan_to_num(updates))


@pytest.mark.parametrize(
    "planted",
    [
        divides_by_the_norm,
        multiplies_bad_rows_by_zero,
        clips_the_whole_batch,
        clips_coordinates,
        sums_squares_in_float32,
    ],
)
def test_the_property_finds_planted_bugs(planted: Clip) -> None:
    try:
        find(
            rows,
            lambda values: not is_bounded(planted, 1.0, values),
            settings=settings(max_examples=2000, database=None, deadline=None),
        )
    except NoSuchExample:
        pytest.fail(f"{planted.__name__} passed for a clip")
