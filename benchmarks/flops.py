"""Floating-point operations of the work, from shapes alone, and the products that they are.

A multiply-add counts two. Only what must be computed counts: positions with a target (no padding),
pairs of positions that the causal mask lets through, no gradient of frozen weights, and in the
first layer no gradient of its input, below which nothing is trained. For one position:

    frozen matrix [a, b]      2 a b forward, 2 a b backward towards its input where that is needed
    LoRA of rank r beside it  2 r (a + b) forward, 2 r (a + 2 b) backward, 2 r a more towards the
                              input
    head over n items         2 h n forward, 2 h n backward

and for a pair of positions 4 h forward (query by key, weight by value) and 8 h backward, in the
first layer 6 h, for its keys are not trained; h is the width. What the affinity of texts takes of
one place for another is 2 h, and 8 for its weight, a sum over four decays. Softmax, normalisation,
activations and sums are not counted.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import torch
from work import Work

from shared.model.affinities import DECAYS
from shared.model.packing import linear


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
    """What a cohort's updates cost in products, by shape: LoRA on query and value, item bias."""
    shape, rank = work.size.shape, work.config("none").model.lora_rank
    h, inner = shape.model["hidden_size"], shape.model["intermediate_size"]
    keys = shape.model.get("num_key_value_heads", shape.model["num_attention_heads"])
    keys = keys * h // shape.model["num_attention_heads"]  # width of keys and values
    gated = "num_key_value_heads" in shape.model  # a third inner layer
    lengths = [int(n) for user in users for n in (work.windows(user).targets >= 0).sum(1)]
    positions, pairs = sum(lengths), sum(n * (n + 1) // 2 for n in lengths)
    layers, items = shape.layers, len(work.population.catalogue)
    # Forward in all layers, backward above the first; in the first, of the output's matrix alone.
    square = 2 * h * h * positions * (2 * layers + 2 * (layers - 1) + 1)
    narrow = 2 * h * keys * positions * (2 * layers + 2 * (layers - 1))
    deep = 2 * h * inner * positions * (3 if gated else 2) * 2 * layers
    beside = sum(
        4 * rank * (h + out) * layers + 2 * rank * out * layers + 2 * rank * h * (layers - 1)
        for out in (h, keys)
    )
    return [
        Product("query and output", h, h, square),
        Product("key and value", h, keys, narrow),
        Product("inner layers", h, inner, deep),
        Product("pairs of positions", h, 0, (12 * (layers - 1) + 10) * h * pairs),
        Product("affinities", h, 0, 2 * (h + len(DECAYS)) * pairs),
        Product("LoRA", h, rank, beside * positions),
        Product("head", h, items, 4 * h * items * positions),
    ]


def peak(
    shape: tuple[int, int, int], dtype: torch.dtype, seconds: float, device: torch.device
) -> float:
    """Operations a second of [rows, inner] x [inner, columns], the best of many.

    By the product that the engine takes, and by PyTorch's usual one. On a GPU of twenty products in
    a row, so that launching them is hidden.
    """
    rows, inner, columns = shape
    a = torch.ones(rows, inner, dtype=dtype, device=device)
    b = torch.ones(inner, columns, dtype=dtype, device=device)
    out = torch.empty(rows, columns, dtype=dtype, device=device)
    turned = b.T.contiguous()
    ways = (lambda: torch.mm(a, b, out=out), lambda: linear(a, turned))
    times = 1 if device.type == "cpu" else 20
    best, until = float("inf"), time.perf_counter() + seconds
    for way in itertools.cycle(ways):
        if time.perf_counter() > until:
            break
        started = time.perf_counter()
        for _ in range(times):
            way()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, (time.perf_counter() - started) / times)
    return 2 * rows * inner * columns / best
