"""Windows of different lengths end to end in one row of tokens: nothing is padding.

A batch of W windows with n_1 >= n_2 >= ... positions is a row of T = n_1 + n_2 + ... tokens. What
treats every token alike (a linear layer, a norm) runs on the row; what looks along a window
(attention, decayed means) runs on groups of windows of one length, which are views of the row.

Every window belongs to a segment, a client or an example, that may have weights of its own. A stack
of weights is [segments, out, in]; where all are the same it is one weight expanded, and the row is
multiplied once:

    y_t = W_{s(t)} x_t          dW_s = sum over t of segment s of dy_t x_t'

so a gradient with respect to the stack is every segment's own gradient.

Products take the fastest library at hand. On a CPU PyTorch multiplies float32 matrices with MKL,
which on some processors is slower at these shapes than oneDNN, the library that PyTorch itself
takes for bfloat16 and in compiled models (`python benchmarks/roofline.py` tries both and reports
the faster as the peak). The operation is PyTorch's own; it has no derivative, so one stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Packing:
    """How the tokens of a row belong to windows, and windows to segments.

    Parameters
    ----------
    lengths : sequence of int, length [W]
        Positions of each window, >= 1; descending.
    owners : Tensor int64 [W]
        Segment of each window, in [0, segments).
    segments : int
        Of the stacks of weights.
    one_group : bool
        Treat windows of all lengths as one group, padded: fewer and larger operations, as a GPU
        likes it. Otherwise a group for every length, without padding.
    filler : int
        Tokens after the last window that belong to none: they are multiplied like all others and
        meet nothing. They round T up, where products of a new size cost the making of a new kernel.
    """

    lengths: Sequence[int]
    owners: Tensor
    segments: int
    one_group: bool = False
    filler: int = 0

    def __post_init__(self) -> None:
        if any(n < m for n, m in zip(self.lengths, self.lengths[1:], strict=False)):
            raise ValueError(f"Expected descending lengths, not {list(self.lengths)}")

    @property
    def tokens(self) -> int:
        """T, filler included."""
        return sum(self.lengths) + self.filler

    @cached_property
    def positions(self) -> Tensor:
        """Place of every token in its window, int64 [T], from 0; 0 in the filler."""
        counts = [torch.arange(length) for length in self.lengths]
        return torch.cat([*counts, torch.zeros(self.filler).long()]).to(self.owners.device)

    @cached_property
    def window_of(self) -> Tensor:
        """Window of every token, int64 [T]; the last one of the filler."""
        lengths = [*self.lengths[:-1], self.lengths[-1] + self.filler]
        return torch.repeat_interleave(torch.tensor(lengths)).to(self.owners.device)

    @property
    def segment_of(self) -> Tensor:
        """Segment of every token, int64 [T]."""
        return self.owners[self.window_of]

    @cached_property
    def groups(self) -> list[tuple[int, int]]:
        """(windows, length) of each group, in the row's order."""
        if self.one_group:
            return [(len(self.lengths), self.lengths[0])]
        return [(len(list(run)), length) for length, run in groupby(self.lengths)]

    @cached_property
    def _owners(self) -> tuple[Tensor, ...]:
        """Segments of the windows of each group."""
        return torch.split(self.owners, [windows for windows, _ in self.groups])

    @cached_property
    def _places(self) -> Tensor | None:
        """Where the row's tokens stand among the padded ones; None if there is no padding."""
        if not self.one_group or self.lengths[0] == self.lengths[-1]:
            return None
        stop = sum(self.lengths)
        return self.window_of[:stop] * self.lengths[0] + self.positions[:stop]

    def after(self, words: int) -> Packing:
        """The packing of the same windows with so many more positions before each."""
        longer = [words + length for length in self.lengths]
        return Packing(longer, self.owners, self.segments, self.one_group, self.filler)

    def rectangles(self, row: Tensor) -> list[Tensor]:
        """Row [T, ...] -> for every group [windows, length, ...]; padding is zero."""
        row = row[: sum(self.lengths)]
        places = self._places
        if places is not None:
            windows, length = self.groups[0]
            padded = row.new_zeros(windows * length, *row.shape[1:]).index_copy(0, places, row)
            return [padded.view(windows, length, *row.shape[1:])]
        parts = torch.split(row, [n * length for n, length in self.groups])
        return [
            part.reshape(*group, *row.shape[1:])
            for part, group in zip(parts, self.groups, strict=True)
        ]

    def row(self, rectangles: Sequence[Tensor]) -> Tensor:
        """The inverse of `rectangles`; the filler is zero."""
        flat = [rectangle.flatten(0, 1) for rectangle in rectangles]
        places = self._places
        if places is not None:
            flat = [flat[0].index_select(0, places)]
        if self.filler:
            flat.append(flat[0].new_zeros(self.filler, *flat[0].shape[1:]))
        return flat[0] if len(flat) == 1 else torch.cat(flat)

    def map(self, function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """A function of rectangles [windows, length, ...], applied to rows [T, ...]."""
        grouped = zip(*(self.rectangles(row) for row in rows), strict=True)
        return self.row([function(*group) for group in grouped])

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """Every token by its segment's weight.

        Parameters
        ----------
        x : Tensor [..., T, in]
            Leading dimensions of size 1.
        weight : Tensor [segments, out, in]
            Expanded (stride 0) where all segments share it.

        Returns
        -------
        Tensor [..., T, out]
        """
        y: Tensor = _Linear.apply(x.flatten(0, -2), weight, self)  # type: ignore[no-untyped-call]  # torch: untyped
        return y.view(*x.shape[:-1], weight.shape[1])

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """Rows [T, in] by weights [segments, out, in] -> [T, out]; not differentiated."""
        if weight.stride(0) == 0 or len(weight) == 1:
            return linear(x, weight[0])
        products = [
            torch.bmm(rectangle, weight[owners].mT)
            for rectangle, owners in zip(self.rectangles(x), self._owners, strict=True)
        ]
        return self.row(products)

    def outer(self, dy: Tensor, x: Tensor) -> Tensor:
        """Rows [T, out] and [T, in] -> sums of dy_t x_t' by segment [segments, out, in]."""
        if self.segments == 1:
            return _outer(dy[None], x[None])
        total = x.new_zeros(self.segments, dy.shape[1], x.shape[1])
        for a, b, owners in zip(self.rectangles(dy), self.rectangles(x), self._owners, strict=True):
            total.index_add_(0, owners, _outer(a, b))
        return total


def _outer(a: Tensor, b: Tensor) -> Tensor:
    """Rectangles [n, length, p] and [n, length, q] -> a' b, [n, p, q].

    The narrow one goes first: the libraries multiply a few rows several times faster than a few
    columns.
    """
    if a.shape[-1] <= b.shape[-1]:
        return torch.bmm(a.mT, b)
    return torch.bmm(b.mT, a).mT


class _Linear(torch.autograd.Function):
    """`Packing.linear`; the gradient of an expanded weight is not summed over segments."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, packing: Packing) -> Tensor:
        return packing.product(x, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, ctx.packing = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (dy,) = gradients
        dx = ctx.packing.product(dy, weight.mT) if ctx.needs_input_grad[0] else None
        dw = ctx.packing.outer(dy, x) if ctx.needs_input_grad[1] else None
        return dx, dw, None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., in], weight [out, in], bias [out] -> [..., out]; not differentiable."""
    if _has_onednn() and x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y
    return functional.linear(x, weight, bias)


def _has_onednn() -> bool:
    built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch: untyped
    return built and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def frozen_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`linear`, differentiable in x alone."""
    y: Tensor = _Frozen.apply(x, weight, bias)  # type: ignore[no-untyped-call]  # torch: untyped
    return y


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return linear(gradients[0], weight.mT), None, None
