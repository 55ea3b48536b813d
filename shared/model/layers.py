"""The layers that are trained: a plain linear or embedding, or one for every segment of a packing.

Their weight is a matrix as usual. While a packing is set, a stack of matrices may stand in its
place (`torch.func.functional_call`), and every token meets the matrix of its own segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn import functional

from shared.model.packing import Packing, frozen_linear


class AdapterLinear(nn.Linear):
    """A linear layer without bias; weight [out, in] or, in a packing, [segments, out, in]."""

    packing: Packing | None = None

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        if self.packing is None or self.weight.dim() == 2:
            return functional.linear(input, self.weight)
        return self.packing.linear(input, self.weight)


class AdapterEmbedding(nn.Embedding):
    """An embedding; weight [items, width] or, in a packing, [segments, items, width]."""

    packing: Packing | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Indices [...] -> [..., width]; those of a packing are [..., T]."""
        if self.packing is None or self.weight.dim() == 2:
            return functional.embedding(input, self.weight)
        return self.weight[self.packing.segment_of, input]


class FrozenLinear(nn.Linear):
    """A linear layer that is not trained; in a packing it takes the fastest product there is."""

    packing: Packing | None = None

    @classmethod
    def of(cls, layer: nn.Linear) -> FrozenLinear:
        """The same layer, with the same tensors."""
        made = cls(1, 1, bias=False, device="meta")
        made.in_features, made.out_features = layer.in_features, layer.out_features
        made.weight, made.bias = layer.weight, layer.bias
        return made

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        if self.packing is None:
            return functional.linear(input, self.weight, self.bias)
        return frozen_linear(input, self.weight, self.bias)


Layers = list[AdapterLinear | AdapterEmbedding | FrozenLinear]


def layers_of(module: nn.Module) -> Layers:
    """The layers of a module that heed a packing."""
    kinds = AdapterLinear | AdapterEmbedding | FrozenLinear
    return [m for m in module.modules() if isinstance(m, kinds)]


def mark_frozen(module: nn.Module) -> None:
    """Make every plain linear layer of a module a `FrozenLinear`, in place; no name changes."""
    for owner in list(module.modules()):
        for name, layer in owner.named_children():
            if type(layer) is nn.Linear:
                setattr(owner, name, FrozenLinear.of(layer))


def linear_layers(module: nn.Module) -> dict[str, nn.Module]:
    """The linear layers of a module by full name; GPT-2's transposed ones are among them."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) or transposed(layer)
    }


def transposed(layer: nn.Module) -> bool:
    """True for transformers' `Conv1D`, a linear layer that keeps its weight as [in, out]."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(layer, Conv1D)


@contextmanager
def packed(layers: Layers, packing: Packing) -> Iterator[None]:
    """For as long as it takes, backward pass included, these layers see windows packed so."""
    before = [layer.packing for layer in layers]
    for layer in layers:
        layer.packing = packing
    try:
        yield
    finally:
        for layer, packing_before in zip(layers, before, strict=True):
            layer.packing = packing_before


def released(weight: Tensor) -> AdapterLinear:
    """A holder of what no round trains; [items, width]."""
    holder = AdapterLinear(weight.shape[1], weight.shape[0])
    holder.weight.data.copy_(weight)
    return holder.requires_grad_(False)


def zero_linear(width_in: int, width_out: int) -> AdapterLinear:
    """A linear layer that gives zeros until it is trained; [width_out, width_in]."""
    layer = AdapterLinear(width_in, width_out)
    nn.init.zeros_(layer.weight)
    return layer
