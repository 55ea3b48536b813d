"""The clip against a loop over rows, and what it refuses."""

import math

import pytest
import torch

from shared.errors import ConfigError, ProtocolError
from shared.privacy.contribution.clipping import L2Clip


def clip_one_by_one(rows: torch.Tensor, norm: float) -> torch.Tensor:
    """Slow oracle: plain Python floats, one row at a time."""
    clipped = []
    for row in rows:
        values = [float(value) for value in row]
        length = math.sqrt(math.fsum(value * value for value in values))
        scale = min(1.0, norm / length) if length else 1.0
        clipped.append([value * scale for value in values])
    return torch.tensor(clipped, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", [0.01, 1.0, 30.0])
def test_equals_the_loop_over_rows(norm: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(20, 50, generator=generator, dtype=dtype)
    rows *= torch.logspace(-3, 3, 20, dtype=dtype)[:, None]
    torch.testing.assert_close(
        L2Clip(norm)(rows).double(), clip_one_by_one(rows, norm), rtol=1e-6, atol=1e-12
    )


def test_norm_after_rounding_is_within_the_bound() -> None:
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(2000, 300, generator=generator)
    naive = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    clipped = L2Clip(1.0)(rows)
    assert clipped.double().norm(dim=1).max() <= 1.0
    assert naive.double().norm(dim=1).max() > 1.0  # what dividing by the norm would have given


def test_short_rows_come_back_unchanged() -> None:
    row = torch.tensor([0.3, -0.4])
    assert torch.equal(L2Clip(0.5 + 1e-7)(row), row)


def test_a_bad_row_is_zero_and_leaves_the_others_alone() -> None:
    rows = torch.ones(4, 3)
    rows[0, 1], rows[1, 0], rows[2, 2] = math.nan, math.inf, -math.inf
    clipped = L2Clip(1.0)(rows)
    assert torch.equal(clipped[:3], torch.zeros(3, 3))
    assert clipped[3].norm() == pytest.approx(1.0)


def test_a_norm_beyond_float64_counts_as_not_finite() -> None:
    assert torch.equal(L2Clip(1.0)(torch.full((3,), 1e300, dtype=torch.float64)), torch.zeros(3))


def test_batches_of_batches() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(2, 5, 7, generator=generator) * 4
    clip = L2Clip(1.0)
    assert torch.equal(clip(rows), torch.stack([clip(part) for part in rows]))
    assert clip.norms(rows).shape == (2, 5)


def test_sensitivity_per_relation() -> None:
    clip = L2Clip(0.7)
    assert clip.sensitivity("zero_out") == 0.7
    assert clip.sensitivity("replace_one") == 1.4
    with pytest.raises(ConfigError, match="zero_out"):
        clip.sensitivity("add_remove")  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", [0.0, -1.0, math.nan, math.inf, 1e-40])
def test_refuses_a_norm_out_of_range(norm: float) -> None:
    with pytest.raises(ConfigError, match="clipping norm"):
        L2Clip(norm)


@pytest.mark.parametrize(
    "rows", [torch.ones(3, dtype=torch.bfloat16), torch.ones(3, dtype=torch.int64), torch.tensor(1)]
)
def test_refuses_other_types_and_shapes(rows: torch.Tensor) -> None:
    with pytest.raises(ProtocolError, match="expected float32"):
        L2Clip(1.0)(rows)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_same_on_cuda() -> None:
    rows = torch.randn(20, 1000, generator=torch.Generator().manual_seed(4)) * 3
    clipped = L2Clip(1.0)(rows.cuda())
    torch.testing.assert_close(clipped.cpu(), L2Clip(1.0)(rows))
    assert clipped.double().norm(dim=1).max() <= 1.0
