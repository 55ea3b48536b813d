"""Frozen weights in 8 or 4 bit: less memory, everything computed and trained in floating point.

A frozen matrix W [out, in] is kept as integers and scales,

    W ~ Q * s        int8: one scale a row;  int4: one scale a group of 32 columns of a row,

and is written out again, layer by layer, whenever it multiplies. Our own and not a library's,
because it must work under `torch.func` on any device: see ADR 7.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.model.layers import linear_layers, transposed

Bits = Literal["int8", "int4"]
GROUP = 32  # columns that share a scale in 4 bits
_LARGEST = {"int8": 127, "int4": 7}


class QuantizedLinear(nn.Module):
    """x -> x W' + b with W frozen in 8 or 4 bit.

    Parameters
    ----------
    weight : Tensor float32 [out, in]
    bias : Tensor [out] or None
    bits : {"int8", "int4"}

    Notes
    -----
    Rounding moves no entry of W by more than half its scale, which is the largest magnitude of its
    row (or group) over 127 (or 7).
    """

    integers: Tensor  # int8 [out, in], or uint8 [out, padded / 2]: two in a byte
    scale: Tensor  # float32 [out, groups, 1]
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, bits: Bits) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.bits = bits
        groups = _grouped(weight.detach().float(), bits)
        largest = groups.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        scale = largest / _LARGEST[bits]
        integers = (groups / scale).round().to(torch.int8).flatten(1)  # [out, padded]
        self.register_buffer("integers", integers if bits == "int8" else _pack(integers))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def weight(self, dtype: torch.dtype) -> Tensor:
        """W as it multiplies, [out, in]."""
        return _written_out(self.integers, self.scale, self.in_features, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], in the type of x."""
        y = _product(x, self.integers, self.scale, self.in_features, False)
        return y if self.bias is None else y + self.bias.to(y.dtype)


class _Product(torch.autograd.Function):
    """x W', or x W, that keeps the integers and never W; differentiable any number of times."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, integers: Tensor, scale: Tensor, width: int, back: bool) -> Tensor:
        weight = _written_out(integers, scale, width, x.dtype)
        return x @ (weight if back else weight.T)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, integers, scale, ctx.width, ctx.back = inputs
        ctx.save_for_backward(integers, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        integers, scale = ctx.saved_tensors
        x = _product(gradients[0], integers, scale, ctx.width, not ctx.back)
        return x, None, None, None, None


def _product(x: Tensor, integers: Tensor, scale: Tensor, width: int, back: bool) -> Tensor:
    y: Tensor = _Product.apply(x, integers, scale, width, back)  # type: ignore[no-untyped-call]  # torch: untyped
    return y


def quantize(backbone: nn.Module, bits: Bits) -> None:
    """Replace every frozen linear layer, LoRA's own left out, in place.

    Parameters
    ----------
    backbone : nn.Module
        With its LoRA layers, if any, already there: they stand on top of the frozen ones.
    bits : {"int8", "int4"}
    """
    layers: dict[str, Any] = dict(linear_layers(backbone))
    for name, layer in layers.items():
        if "lora_" in name or layer.weight.requires_grad:
            continue
        weight = layer.weight.T if transposed(layer) else layer.weight
        owner, _, own = name.rpartition(".")
        setattr(backbone.get_submodule(owner), own, QuantizedLinear(weight, layer.bias, bits))


def _grouped(weight: Tensor, bits: Bits) -> Tensor:
    """[out, in] -> [out, groups, columns], filled up with zeros."""
    if bits == "int8":
        return weight[:, None]
    missing = -weight.shape[1] % GROUP
    return functional.pad(weight, (0, missing)).view(len(weight), -1, GROUP)


def _pack(integers: Tensor) -> Tensor:
    """int8 in [-7, 7], [out, n] -> uint8 [out, n / 2]: even columns in the low half."""
    shifted = (integers + 8).to(torch.uint8)
    return shifted[:, 0::2] | (shifted[:, 1::2] << 4)


def _written_out(integers: Tensor, scale: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    if integers.dtype == torch.uint8:
        halves = torch.stack((integers & 15, integers >> 4), dim=-1).flatten(-2)
        integers = halves.to(torch.int8) - 8
    groups = integers.reshape(*scale.shape[:-1], -1)  # [out, groups, columns]
    weight: Tensor = (groups.to(dtype) * scale.to(dtype)).flatten(-2)
    return weight[..., :width]
