"""How much of the machine's arithmetic the work gets, and where the rest of the time goes.

    python benchmarks/roofline.py [--size minilm|qwen|tiny|tiny-qwen] [--device cpu|cuda]
                                  [--threads 2] [--seconds 1] [--out FILE]

Measures the products of the model's own shapes alone (the peak), counts the operations that the
work needs (`benchmarks/flops.py`: no padding, no gradient of frozen weights), and times the
sequential loop and the cohort engine taking turns in one process. The fraction is of a machine that
does nothing but these products, each at its own shape's measured peak. Then profiles the engine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler's own chatter

import torch
from flops import Product, peak, products
from machine import hardware, load, versions
from peers import ours, sequential
from torch.profiler import ProfilerActivity, profile
from work import SIZES, Work

from simulations.engine.placement import choose_device

ROWS = {"cpu": (400, 800, 3200), "cuda": (3_200, 12_800, 51_200)}  # positions at once
TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
# The first that an operation's name contains.
KINDS = (
    ("products", ("mm", "matmul", "linear", "dot_product", "gemv", "cutlass")),
    ("softmax and loss", ("softmax", "logsumexp", "nll", "cross_entropy")),
    ("activation and normalisation", ("gelu", "norm", "silu")),
    ("copies and rearrangement", ("copy", "cat", "index", "gather", "scatter", "clone", "pad")),
    ("memory", ("empty", "zero", "fill", "new_", "resize")),
    (
        "element by element",
        ("add", "mul", "sub", "div", "sum", "where", "exp", "max", "amax", "clamp", "mean", "pow"),
    ),
)


def peaks(
    found: list[Product], threads: int, seconds: float, device: torch.device
) -> list[dict[str, Any]]:
    """Measured peak of every shape, thread count and type: the best over `ROWS`."""
    shapes = sorted({(product.inner, product.columns) for product in found if product.columns})
    rows = []
    for count in sorted({1, threads} if device.type == "cpu" else {threads}):
        torch.set_num_threads(count)
        for name, dtype in TYPES.items():
            for inner, columns in shapes:
                best = max(
                    peak((n, inner, columns), dtype, seconds / 3, device) for n in ROWS[device.type]
                )
                row = {"threads": count, "dtype": name, "inner": inner, "columns": columns}
                rows.append(row | {"gflops": best / 1e9})
    torch.set_num_threads(threads)
    return rows


def ideal(found: list[Product], rows: list[dict[str, Any]], threads: int, dtype: str) -> float:
    """Seconds of the products alone, each at its shape's peak; pairs at that of the square."""
    speeds = {
        (row["inner"], row["columns"]): row["gflops"] * 1e9
        for row in rows
        if (row["threads"], row["dtype"]) == (threads, dtype)
    }
    return sum(p.flops / speeds[p.inner, p.columns or p.inner] for p in found)


class Stopwatch:
    """Seconds of each cohort after the first."""

    wants = False

    def __init__(self) -> None:
        self.stamps: list[float] = []

    def __call__(self, updates: torch.Tensor | None) -> None:
        """A cohort is finished."""
        self.stamps.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """Of each cohort after the first."""
        return [b - a for a, b in zip(self.stamps, self.stamps[1:], strict=False)]


def timed(run: Callable[..., None], work: Work, turns: int, same: list[int]) -> list[float]:
    """The same cohort again and again, after once to warm up."""
    watch = Stopwatch()
    run(work, "none", [same] * (turns + 1), watch)
    return watch.seconds


def where(work: Work, users: list[int]) -> list[dict[str, Any]]:
    """Share of the engine's time by kind of operation, of the device that computes.

    What no operation took is Python's on a CPU, and waiting on a GPU.
    """
    on_gpu = work.device.type == "cuda"
    watch = Stopwatch()
    profiler = profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu])

    class Second(Stopwatch):
        """Profiles the cohort after the one that warms up."""

        def __call__(self, updates: torch.Tensor | None) -> None:
            watch(updates)
            if len(watch.stamps) == 1:
                profiler.start()

    ours.run(work, "none", [users, users], Second())
    profiler.stop()
    took: dict[str, float] = {}
    for event in profiler.key_averages():
        if on_gpu and event.device_type == torch.autograd.DeviceType.CPU:
            continue  # launches a kernel, which is counted itself
        kind = kind_of(event.key)
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        took[kind] = took.get(kind, 0.0) + spent / 1e6
    took["outside of operations"] = max(0.0, watch.seconds[0] - sum(took.values()))
    total = sum(took.values())
    return [
        {"kind": kind, "seconds": seconds, "share": seconds / total}
        for kind, seconds in sorted(took.items(), key=lambda pair: -pair[1])
    ]


def kind_of(name: str) -> str:
    """Which kind of operation a profiled name is."""
    plain = name.lower()
    return next((kind for kind, parts in KINDS if any(p in plain for p in parts)), "other")


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Peak, work, rates and profile."""
    torch.set_num_threads(chosen.threads)
    device = choose_device(chosen.device)
    works = {name: Work(chosen.size, device.type, name) for name in TYPES}
    work = works["float32"]
    users = work.cohort(1)
    counted = products(work, users)
    rows = peaks(counted, chosen.threads, chosen.seconds, device)
    flops = sum(product.flops for product in counted)
    rates = []
    timings: dict[tuple[str, str], list[float]] = {}
    for _ in range(chosen.repeats):  # taking turns
        for name, run, dtype in (
            ("sequential", sequential.run, "float32"),
            ("ours", ours.run, "float32"),
            ("ours", ours.run, "bf16"),
        ):
            found = timed(run, works[dtype], chosen.turns, users)
            timings.setdefault((name, dtype), []).extend(found)
    for (name, dtype), seconds in timings.items():
        middle = median(seconds)
        best = ideal(counted, rows, chosen.threads, dtype)
        rates.append(
            {
                "peer": name,
                "dtype": dtype,
                "seconds": seconds,
                "updates_per_second": len(users) / middle,
                "gflops": flops / middle / 1e9,
                "fraction_of_peak": best / middle,
            }
        )
    return {
        "work": work.counts(users) | {"gflop": flops / 1e9},
        "stands_in": work.stands_in,
        "products": [vars(product) | {"share": product.flops / flops} for product in counted],
        "peaks": rows,
        "rates": rates,
        "profile": where(work, users),
    }


def show(found: dict[str, Any]) -> None:
    """The essentials, to a terminal."""
    print(f"{found['work']['gflop']:.1f} GFLOP for {found['work']['users']} updates")
    for row in found["peaks"]:
        print(
            f"peak  {row['threads']} thread(s)  {row['dtype']:8} {row['inner']:5} x "
            f"{row['columns']:<5} {row['gflops']:7.1f} GFLOP/s"
        )
    for row in found["rates"]:
        print(
            f"{row['peer']:11} {row['dtype']:8} {row['updates_per_second']:7.1f} updates/s  "
            f"{row['gflops']:7.1f} GFLOP/s  {row['fraction_of_peak']:5.1%} of the peak"
        )
    for row in found["profile"]:
        print(f"{row['kind']:30} {row['share']:6.1%}")


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="minilm", choices=tuple(SIZES))
    parser.add_argument("--device", default="cpu", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each product's peak")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--turns", type=int, default=2, help="cohorts of each, in each repeat")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    before = load()
    found = measure(chosen)
    show(found)
    if chosen.out:
        whole = {
            "command": "python benchmarks/roofline.py " + " ".join(sys.argv[1:]),
            "machine": hardware(),
            "versions": versions(),
            "threads": chosen.threads,
            "load": before,
        }
        chosen.out.write_text(json.dumps(whole | found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
