"""Factors that are directions of the frozen weights themselves: no data are read.

    W ~ U S V' of rank r                A = V' [r, in]
    pair        correction s B A        B [out, r] trained, from zero
    core        correction s B R A      B = U S, R [r, r] trained, from zero

What is trained has a gradient at once, unlike a trained A beside a B of zero.

References
----------
Balazy, Banaei, Aberer, Tabor 2024, LoRA-XS: Low-Rank Adaptation with Extremely Small Number of
Parameters. https://arxiv.org/abs/2405.17604
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.model.layers import AdapterLinear, transposed


class CoredLinear(nn.Module):
    """x -> B R x, in the place of a LoRA pair's B."""

    def __init__(self, up: AdapterLinear) -> None:
        super().__init__()
        self.core = AdapterLinear(up.in_features, up.in_features)
        self.up = up
        nn.init.zeros_(self.core.weight)

    def forward(self, input: Tensor) -> Tensor:
        """[..., r] -> [..., out]."""
        turned: Tensor = self.up(self.core(input))
        return turned


@torch.no_grad()
def components(table: Tensor, rank: int) -> Tensor:
    """What reads a state down to its leading text components, each of unit spread over the items.

    Parameters
    ----------
    table : Tensor [items, hidden]
        Frozen item vectors, centred.
    rank : int
        >= 1; of all that there are, where these are fewer.

    Returns
    -------
    Tensor [min(rank, items, hidden), hidden]
        Directions V' over the root mean square of what items have along them. Zero where that is
        less than a hundredth of the first one's: rounding, which differs between machines.
    """
    up, down = leading(table, min(rank, *table.shape))
    spread = up.norm(dim=0) * len(table) ** -0.5  # [rank]
    scale = torch.where(spread > 1e-2 * spread.max(), 1 / spread, 0)
    return down * scale[:, None]


@torch.no_grad()
def begin_along_weights(adapted: nn.Module, core: bool) -> None:
    """Give every LoRA pair of a module the leading directions of its layer, in place.

    Parameters
    ----------
    adapted : nn.Module
        Its pairs as PEFT made them, B zero.
    core : bool
        Whether B, too, is the layer's, with a zero core between the two.

    Raises
    ------
    ConfigError
        If a layer has fewer directions than the rank.
    """
    layers: list[Any] = [m for m in adapted.modules() if hasattr(m, "lora_A")]
    for layer in layers:
        for name in layer.lora_A:
            down, up = layer.lora_A[name], layer.lora_B[name]
            u_s, v = leading(_matrix(layer.base_layer), len(down.weight))
            down.weight.copy_(v)
            if core:
                up.weight.copy_(u_s)
                layer.lora_B[name] = CoredLinear(up)


def _matrix(base: Any) -> Tensor:
    """The frozen weight [out, in]; transformers' Conv1D keeps its transpose."""
    weight: Tensor = base.weight
    return weight.T if transposed(base) else weight


def leading(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The leading singular directions of a matrix [out, in].

    Returns
    -------
    U S : Tensor [out, rank]
    V' : Tensor [rank, in]
        Orthonormal rows; the largest entry of each is positive, so that every machine takes the
        same of two signs.

    Raises
    ------
    ConfigError
        If there are fewer.
    """
    if rank > min(weight.shape):
        raise ConfigError(
            f"model.lora_rank = {rank}: federation.aggregation = fedsb and principal take "
            f"directions of the layers themselves, and one has {min(weight.shape)}; give at most "
            "that"
        )
    w = weight.detach().double()
    wide = w.shape[1] > w.shape[0]
    gram = w @ w.T if wide else w.T @ w  # the smaller one
    vectors = torch.linalg.eigh(gram).eigenvectors[:, -rank:].flip(-1)  # largest first
    v = torch.linalg.qr(w.T @ vectors).Q.T if wide else vectors.T  # [rank, in]
    largest = v.abs().argmax(-1, keepdim=True)
    v = v * v.gather(-1, largest).sign()
    return (w @ v.T).to(weight.dtype), v.to(weight.dtype)
