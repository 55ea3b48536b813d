"""How vectors of one model enter another: a public, closed-form map to where its words stand.

Items have vectors e_i of width d, the reader words w_v of width H. What its words say of an item is
the mean of those in the item's text, t_i. The map is the ridge regression of these on the vectors,

    W = T' E (E' E + (n / d) I)^-1                     rows of E: e_i - e,  of T: t_i - t

and an item enters as

    m + c W (e_i - e)          m = mean word,  c: the spread around m is that of the vocabulary

so that the mean of the items' tokens is that of the words, and so is their mean squared distance
from it. States leave through the transpose, as in a model whose words are tied: one that points
where an item would enter scores that item. They are brought to the length sqrt(d) that a norm
without gains would leave, so that `model.hidden_scale` means the same for every reader.

Texts, vectors and weights are public; nothing here has seen an interaction. The term n / d keeps
the map smooth: vectors that differ in their last digits, as machines differ, enter alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shared.model.sources.pooling import MAX_TOKENS, Vectors

_LEAST = 1e-12


class Entrance(nn.Module):
    """The map, as the reader applies it.

    Parameters
    ----------
    enter : Tensor float32 [H, d]
        c W.
    offset : Tensor float32 [H]
        m - c W e.
    leave : Tensor float32 [d, H]
        W' times a number.
    blank : Tensor float32 [H]
        Where there is no item: the direction of the mean word, as long as words are on average.
    """

    enter: Tensor
    offset: Tensor
    leave: Tensor
    blank: Tensor

    def __init__(self, enter: Tensor, offset: Tensor, leave: Tensor, blank: Tensor) -> None:
        super().__init__()
        parts = {"enter": enter, "offset": offset, "leave": leave, "blank": blank}
        for name, part in parts.items():
            self.register_buffer(name, part.float().contiguous(), persistent=False)

    @property
    def width(self) -> int:
        """d, of an item's vector."""
        return self.enter.shape[1]


def entrance(
    backbone: nn.Module, tokenizer: Any, texts: Sequence[str], vectors: Vectors
) -> Entrance:
    """The map of a catalogue's vectors into a backbone.

    Parameters
    ----------
    backbone : nn.Module
        With its word table still whole, cut to the layers that are kept.
    tokenizer : tokenizer of that backbone
    texts : sequence of str, length [items]
    vectors : ndarray float32 [items, d]
    """
    table = backbone.get_input_embeddings().weight.detach().double()  # type: ignore[operator]  # torch: a Module or a Tensor
    mean = table.mean(0)
    spread = float((table - mean).pow(2).sum(1).mean().sqrt())
    said = _said(table, tokenizer, texts)
    said -= said.mean(0)
    centre = torch.from_numpy(vectors).double().mean(0)
    rows = torch.from_numpy(vectors).double() - centre
    count, width = rows.shape
    ridge = torch.eye(width, dtype=torch.float64) * (count / width)
    weight = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ said).T  # [H, d]
    moved = float((rows @ weight.T).pow(2).sum(1).mean().sqrt())
    enter = weight * (spread / max(moved, _LEAST))
    out = (width * len(mean)) ** 0.5 / max(_state_length(backbone) * float(weight.norm()), _LEAST)
    blank = mean * (float(table.norm(dim=1).mean()) / max(float(mean.norm()), _LEAST))
    return Entrance(enter, mean - enter @ centre, weight.T * out, blank)


def _said(table: Tensor, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Mean word of each text, [items, H]; zero for one without any."""
    read = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS, add_special_tokens=False)[
        "input_ids"
    ]
    said = torch.zeros(len(texts), table.shape[1], dtype=table.dtype)
    for row, tokens in zip(said, read, strict=True):
        if tokens:
            row.copy_(table[np.array(tokens)].mean(0))
    return said


def _state_length(backbone: nn.Module) -> float:
    """Length that the last norm gives a state: sqrt(sum of g^2 + b^2) of its gains and biases."""
    shape: Any = backbone.config
    norms: list[Any] = [
        module
        for module in backbone.modules()
        if isinstance(weight := getattr(module, "weight", None), Tensor)
        and weight.shape == (shape.hidden_size,)
    ]
    if not norms:
        return float(shape.hidden_size**0.5)
    squares = norms[-1].weight.double().pow(2).sum()
    bias = getattr(norms[-1], "bias", None)
    return float((squares if bias is None else squares + bias.double().pow(2).sum()).sqrt())
