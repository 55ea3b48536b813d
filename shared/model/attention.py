"""Causal attention over packed windows, in the place that transformers offers for another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.errors import ModelError
from shared.model.packing import Packing

NAME = "starling_packed"
_PLAIN = {None, 0}  # values of an option that ask for nothing


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    packing: Packing,
    **options: Any,
) -> tuple[Tensor, None]:
    """Every token attends to its own window, up to itself.

    Parameters
    ----------
    query, key, value : Tensor [1, heads, T, width]
        Keys and values may have fewer heads, each for a group of the queries'.
    attention_mask : Tensor or None
        Ignored: windows are apart, and causal.
    packing : Packing

    Returns
    -------
    Tensor [1, T, heads, width] and None
        As transformers expects it.

    Raises
    ------
    ModelError
        For a variant of attention that this is not.
    """
    for name in ("softcap", "s_aux", "position_bias"):
        if options.get(name) not in _PLAIN:
            raise ModelError(f"{type(module).__name__}: its attention uses {name}")
    shared = query.shape[1] // key.shape[1]
    # A CPU's bfloat16 kernel takes seven times as long backward as the float32 one.
    exact = torch.float32 if query.device.type == "cpu" else query.dtype

    def one_group(q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # [windows, length, heads, width]
        if shared > 1:
            k, v = (x.repeat_interleave(shared, dim=2) for x in (k, v))
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling)
        return out.transpose(1, 2)

    rows = (x[0].transpose(0, 1).to(exact) for x in (query, key, value))  # [T, heads, width]
    return packing.map(one_group, *rows)[None].to(query.dtype), None


@contextmanager
def packed_attention(backbone: nn.Module) -> Iterator[None]:
    """For as long as it takes, backward pass included, a backbone attends within packed windows."""
    from transformers import AttentionInterface  # seconds to import: not for those who need none

    AttentionInterface.register(NAME, attend)
    config: Any = backbone.config
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
