"""Floating-point operations of the work, from shapes alone, and the products that they are.

A multiply-add counts two. Only what must be computed counts: positions with an item or the start of
a history (no padding), pairs of positions that the causal mask lets through, no gradient of frozen
weights, and in the first layer no gradient of its input, which nothing trained lies below. For a
position of width h, inner width i and rank r:

    block, forward      8 h^2 + 4 h i           queries, keys, values, output; the two inner layers
    block, backward     8 h^2 + 4 h i           the same towards the input; first layer 2 h^2 + 4 h i
    LoRA, per layer     4 h r + 6 h r           on each adapted one: forward, and backward to both
                                                factors; 2 h r more where the input has a gradient
    head                2 h n + 2 h n           scores of n items, and the gradient of the state

and for the n(n+1)/2 pairs of a window of n positions 4 h forward, 8 h backward (6 h in the first
layer, whose keys need no gradient). Softmax, normalisation, activations and sums are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from work import Work


@dataclass(frozen=True)
class Product:
    """A matrix product [rows, inner] x [inner, columns], or a batch of such.

    Attributes
    ----------
    name : str
    inner, columns : int
    flops : float
        Of all of its kind in a cohort.
    """

    name: str
    inner: int
    columns: int
    flops: float


def products(work: Work, users: list[int]) -> list[Product]:
    """What a cohort's updates cost in products, by shape.

    Raises
    ------
    ValueError
        For a backbone that is no BERT: others have gates and shared keys.
    """
    shape = work.size.shape
    if "num_key_value_heads" in shape.model:
        raise ValueError(f"{shape.name}: operations are counted for BERT's layers")
    h, inner = shape.model["hidden_size"], shape.model["intermediate_size"]
    layers, items, rank = shape.layers, len(work.population.catalogue), 8
    lengths = [int(n) for user in users for n in (work.windows(user).targets >= 0).sum(1)]
    positions, pairs = sum(lengths), sum(n * (n + 1) // 2 for n in lengths)
    square = 2 * h * h * positions
    adapted = 2  # query and value
    return [
        Product("attention's layers, forward", h, h, 4 * layers * square),
        # Towards the input of all four above the first layer, of the output's alone in it.
        Product("attention's layers, backward", h, h, (4 * (layers - 1) + 1) * square),
        Product("inner layers", h, inner, 2 * layers * 4 * h * inner * positions),
        Product("pairs of positions", h, 0, (12 * (layers - 1) + 10) * h * pairs),
        Product(
            "LoRA", h, rank, adapted * (10 * layers + 2 * (layers - 1)) * h * rank * positions
        ),
        Product("head", h, items, 4 * h * items * positions),
    ]


def peak(inner: int, columns: int, rows: int, dtype: torch.dtype, seconds: float) -> float:
    """Operations a second of [rows, inner] x [inner, columns], the best of many."""
    import time

    a, b = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
    out = torch.empty(rows, columns, dtype=dtype)
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - started)
    return 2 * rows * inner * columns / best
