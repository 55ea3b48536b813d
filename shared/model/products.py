"""Products with weights that are not trained, by the fastest library at hand.

On a CPU PyTorch multiplies float32 matrices with MKL, which on some processors is slower at these
shapes than oneDNN, the library that PyTorch itself takes for bfloat16 and in compiled models
(`python benchmarks/roofline.py` tries both and reports the faster as the peak).
The operation is PyTorch's own; it has no derivative, so one stands here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


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
