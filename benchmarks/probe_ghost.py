"""Would ghost norms serve per-example clipping here? What they keep, and how wrong they can be.

    python benchmarks/probe_ghost.py

A ghost norm takes the size of a window's gradient, dW = sum over t of dy_t x_t', from the products
of its factors, |dW|^2 = sum over t, t' of (dy_t dy_t') (x_t x_t'), without forming dW. Prints what
one window of 50 keeps either way, for the adapters of the default preset, and how far a float32
ghost norm lies from the true one when terms of a window's gradient cancel; writes
`benchmarks/results/probe_ghost.json`. Nothing is random but seed 0; needs no data.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

RESULTS = Path(__file__).parent / "results" / "probe_ghost.json"
TOKENS, ITEMS, WIDTH, INNER = 50, 1682, 384, 1536
# Layers of one block, (in, out): query, key, value, attention output, and the two of the MLP.
BLOCK = [(WIDTH, WIDTH)] * 4 + [(WIDTH, INNER), (INNER, WIDTH)]


def layers(rank: int, lora: list[tuple[int, int]], core: int, table: int) -> list[tuple[int, int]]:
    """(in, out) of everything that is trained in two blocks and around them."""
    factors = [pair for i, o in lora * 2 for pair in ((i, rank), (rank, o))]
    head = [(1, ITEMS)] + ([(core, core)] if core else [])
    head += [(table, WIDTH), (WIDTH, table), (table, ITEMS)] if table else []
    return factors + head


def kept(shapes: list[tuple[int, int]]) -> dict[str, int]:
    """Numbers that one window keeps until its norm is known."""
    return {
        "materialised": sum(i * o for i, o in shapes),
        "ghost": sum(TOKENS * (i + o) for i, o in shapes),
        "smaller of both, layer by layer": sum(min(i * o, TOKENS * (i + o)) for i, o in shapes),
    }


def factors(left: float) -> tuple[Tensor, Tensor]:
    """x and dy [tokens, width], float64, of which all but a share of dW cancels."""
    torch.manual_seed(0)
    x = torch.randn(TOKENS // 2, WIDTH, dtype=torch.float64)
    dy = torch.randn(TOKENS // 2, WIDTH, dtype=torch.float64)
    rest = left * torch.randn_like(dy)
    return torch.cat((x, x)), torch.cat((dy, rest - dy))


def ghost(x: Tensor, dy: Tensor) -> float:
    """The norm from the products of the factors; NaN where rounding made its square negative."""
    return float(((x @ x.T) * (dy @ dy.T)).sum().sqrt())


def errors(left: float) -> dict[str, float]:
    """Norms over the true one."""
    x, dy = factors(left)
    true = float((dy.T @ x).norm())
    single = dy.float().T @ x.float()
    return {
        "left of the gradient": left,
        "ghost norm / true": ghost(x.float(), dy.float()) / true,
        "norm of what is summed / true": float(single.double().norm()) / true,
    }


def main() -> None:
    """Print and write both tables."""
    memory = {
        "example-level and private adapter (rank 2, core 32)": kept(
            layers(2, [(WIDTH, WIDTH)] * 2, 32, 0)
        ),
        "fixed work (rank 8 on query and value)": kept(layers(8, [(WIDTH, WIDTH)] * 2, 0, 0)),
        "non-private adapter (rank 8 everywhere, core 384, table 32)": kept(
            layers(8, BLOCK, 384, 32)
        ),
    }
    for name, numbers in memory.items():
        print(name)
        for way, count in numbers.items():
            print(f"    {way:34s} {count:10,} numbers a window")
    rows = [errors(10.0**-power) for power in range(6)]
    for row in rows:
        print("  ".join(f"{name} {value:.6g}" for name, value in row.items()))
    found = {"command": "python benchmarks/probe_ghost.py", "kept": memory, "errors": rows}
    text = json.dumps(found, indent=1).replace("NaN", '"not a number"')
    RESULTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
