"""Does the cohort engine compute on a GPU what it computes on a CPU, how fast, in how much memory?

    python benchmarks/gpu.py [--out FILE] [--device auto|cpu|cuda] [--sizes tiny|full]
                             [--only TEXT] [--users N]

Checks training, clipping and the batched cohort on the device against the CPU, bf16 and recomputed
blocks against plain float32, then measures client updates a second and peak memory: for the shape
of MiniLM (its weights where they are installed) and for a Qwen2 of half a billion parameters with
random weights. Needs torch, transformers, peft, numpy and pydantic; neither Flower, Opacus
and the accountants nor a model hub. What cannot run here is listed as skipped. Without CUDA it runs
tiny shapes on the CPU. Exit code 1 if a check fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the memory profiler's own chatter
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # found without being installed

import numpy as np
import torch
from torch import Tensor, nn

from shared.config import EngineConfig, ExperimentConfig, ModelConfig, from_dict
from shared.errors import ModelError
from shared.model.backbone import BackboneSource, resolve
from shared.model.recommender import Recommender, build_recommender
from shared.privacy.contribution.clipping import L2Clip
from shared.request import Request
from simulations.engine.cohort import CohortEngine
from simulations.engine.placement import choose_device, keep_freed_memory, peak_bytes, place
from simulations.world.world import World

CLIP = 0.5
HAS_PEFT = importlib.util.find_spec("peft") is not None


@dataclass(frozen=True)
class Shape:
    """A backbone to measure, and the work it is given."""

    name: str
    layers: int
    users: int
    windows: int
    length: int
    items: int
    model: dict[str, Any] = field(default_factory=dict)  # of a BERT or Qwen2 configuration


MINILM = {
    "hidden_size": 384,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
QWEN = {
    "hidden_size": 896,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "intermediate_size": 4864,
    "use_cache": False,
}
SMALL = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
SHAPES = {
    "full": [
        Shape("minilm, 2 layers", 2, 256, 4, 50, 1682, MINILM),
        Shape("qwen2 0.5b", 24, 8, 2, 50, 1682, QWEN),
    ],
    "tiny": [
        Shape("tiny bert", 2, 6, 2, 8, 60, MINILM | SMALL),
        Shape("tiny qwen2", 2, 6, 2, 8, 60, QWEN | SMALL | {"num_key_value_heads": 1}),
    ],
}


class Report:
    """What was checked, measured and skipped."""

    def __init__(self) -> None:
        self.checks: list[dict[str, Any]] = []
        self.speeds: list[dict[str, Any]] = []
        self.skipped: list[str] = []

    def check(self, shape: str, name: str, value: float, limit: float) -> None:
        """Record a distance that must stay under a limit."""
        passed = bool(value < limit)  # NaN fails
        self.checks.append(
            {"shape": shape, "check": name, "value": value, "limit": limit, "passed": passed}
        )
        print(f"{'ok  ' if passed else 'FAIL'} {shape:18s} {name:44s} {value:.2e} < {limit:.0e}")

    @property
    def passed(self) -> bool:
        """No check failed."""
        return all(check["passed"] for check in self.checks)


def settings(shape: Shape, epsilon: float) -> ExperimentConfig:
    """One round of a point at that budget (infinity clips nothing)."""
    return from_dict(
        {
            "model": {
                "layers": shape.layers,
                "max_length": shape.length,
                "lora_rank": 8 if HAS_PEFT else 0,
                "item_rank": 4,
                "projection_rank": 16,
                "hidden_scale": 1.0,  # all through the language model:
                "affinity_scale": 0.0,  # the path around it would hide its errors
            },
            "train": {"max_windows": shape.windows, "local_lr": 0.5, "local_steps": 2},
            "privacy": {"epsilon": epsilon, "clipping_norm": CLIP},
        }
    )


def published(shape: Shape) -> BackboneSource | None:
    """MiniLM's weights for its shape, where they are installed."""
    if not shape.name.startswith("minilm"):
        return None
    try:
        return resolve("minilm")
    except ModelError:
        return None


def drawn(shape: Shape) -> nn.Module:
    """A frozen model of that shape with random weights, always the same."""
    from transformers import AutoModel, BertConfig, Qwen2Config

    family = Qwen2Config if "qwen2" in shape.name else BertConfig
    config = family(vocab_size=100, num_hidden_layers=shape.layers, **shape.model)
    extra = {} if family is Qwen2Config else {"add_pooling_layer": False}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModel.from_config(config, attn_implementation="eager", **extra)


class Bench:
    """Engines over one shape, with one adapter in which no factor is zero."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.world = World(users=shape.users, items=shape.items)
        self.source = published(shape)
        rng = np.random.default_rng(0)
        vectors = rng.normal(size=(shape.items, shape.model["hidden_size"])).astype(np.float32)
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.adapter: Tensor | None = None

    def recommender(self, config: ModelConfig) -> Recommender:
        """A fresh one on the CPU."""
        if self.source is not None:
            return build_recommender(self.source, self.vectors, config)
        return Recommender(drawn(self.shape), self.vectors, config)

    def engine(self, bits: str = "full", **engine: Any) -> CohortEngine:
        """A fresh engine; keyword arguments are those of EngineConfig."""
        config = replace(settings(self.shape, math.inf).model, weights=bits)
        chosen = EngineConfig(**engine)
        made = CohortEngine(self.world, place(self.recommender(config), chosen), chosen)
        if self.adapter is None:
            start = np.random.default_rng(1).normal(0, 0.02, made.schema.dim)
            self.adapter = torch.from_numpy(start.astype(np.float32))
        return made

    def updates(self, engine: CohortEngine, users: int, epsilon: float = math.inf) -> Tensor:
        """The first users' updates [users, dim] in order of user, as the server gets them."""
        config = settings(self.shape, epsilon)
        arrays = engine.schema.split(self.adapter.numpy())
        request = Request("update", config, users, settings="", round_number=1, arrays=arrays)
        found = engine.answer(request, range(users))
        vectors = {members[0]: update.vector for members, update in found}
        return torch.from_numpy(np.stack([vectors[user] for user in range(users)]))


def distance(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|."""
    return float((a - b).double().norm() / b.double().norm())


def turned(a: Tensor, b: Tensor) -> float:
    """1 - cosine, the worst of the rows."""
    return float((1 - torch.cosine_similarity(a.double(), b.double(), dim=1)).max())


def compare(shape: Shape, device: torch.device, report: Report) -> None:
    """Everything that must not depend on where and how it is computed."""
    bench, users, there = Bench(shape), min(4, shape.users), device.type
    # 2 steps of plain float32 on the CPU, one client at a time: what all others must equal.
    plain = bench.engine(device="cpu", micro_batch=1)
    expected, clipped = bench.updates(plain, users), bench.updates(plain, users, epsilon=8.0)
    del plain
    engine = bench.engine(device=there, micro_batch=1)
    if there != "cpu":
        found = bench.updates(engine, users)
        report.check(shape.name, f"training, {there} against cpu", distance(found, expected), 2e-3)
        found = bench.updates(engine, users, epsilon=8.0)
        report.check(shape.name, f"clipped, {there} against cpu", distance(found, clipped), 2e-3)
    del engine
    check_clip(shape, expected, device, report)
    batched = bench.updates(bench.engine(device=there, micro_batch=users), users)
    report.check(shape.name, f"cohort at once on {there}", distance(batched, expected), 2e-3)
    for name, more in (("bf16", {"dtype": "bf16"}), ("recomputed", {"checkpointing": True})):
        found = bench.updates(bench.engine(device=there, **more), users)
        value = turned(found, expected) if name == "bf16" else distance(found, batched)
        limit = 1e-2 if name == "bf16" else 2e-3
        report.check(shape.name, f"{name} on {there} against float32", value, limit)


def check_clip(shape: Shape, updates: Tensor, device: torch.device, report: Report) -> None:
    """The clip itself, on updates from far within to far beyond the norm."""
    scaled = updates * torch.logspace(-3, 3, len(updates))[:, None]
    clip = L2Clip(CLIP)
    here, there = clip(scaled), clip(scaled.to(device)).cpu()
    name = f"clip, {device.type} against cpu"
    report.check(shape.name, name, distance(there, here), 1e-6)
    excess = float(there.double().norm(dim=1).max()) / CLIP - 1
    report.check(shape.name, f"clip on {device.type}, norm over its bound", max(excess, 0.0), 1e-12)


def measure(shape: Shape, device: torch.device, report: Report) -> None:
    """Client updates a second and memory, for each way to compute."""
    bench = Bench(shape)
    for bits, dtype, again in ways():
        engine = bench.engine(bits, device=device.type, dtype=dtype, checkpointing=again)
        bench.updates(engine, shape.users, epsilon=8.0)  # warm
        work = partial(bench.updates, engine, shape.users, 8.0)
        peak = peak_bytes(work, device)
        started = time.perf_counter()
        bench.updates(engine, shape.users, epsilon=8.0)
        seconds = time.perf_counter() - started
        row = {
            "shape": shape.name,
            "backbone_weights": "random" if bench.source is None else "published",
            "weights": bits,
            "dtype": dtype,
            "checkpointing": again,
            "batching": engine.batching,
            "clients_per_second": shape.users / seconds,
            "weight_mib": weight_bytes(engine.recommender.backbone) / 2**20,
            "peak_mib": peak / 2**20,
        }
        report.speeds.append(row)
        print(
            f"{shape.name:18s} {bits:5s} {dtype:8s} {'recomputed' if again else 'kept':10s} "
            f"{engine.batching:6s}  {row['clients_per_second']:8.2f} clients/s  "
            f"weights {row['weight_mib']:8.1f} MiB  peak {row['peak_mib']:9.1f} MiB"
        )


def ways() -> Iterator[tuple[str, str, bool]]:
    """Precision of the weights, of the computation, and whether blocks are recomputed."""
    for dtype in ("float32", "bf16"):
        for again in (False, True):
            yield "full", dtype, again
    yield "int8", "bf16", False
    yield "int4", "bf16", True


def weight_bytes(module: nn.Module) -> int:
    """Of all parameters and buffers."""
    return sum(t.numel() * t.element_size() for t in [*module.parameters(), *module.buffers()])


def hardware(device: torch.device) -> dict[str, Any]:
    """What this ran on."""
    import transformers

    return {
        "device": device.type,
        "name": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": HAS_PEFT,
    }


def run(device: torch.device, sizes: str, shapes: list[Shape]) -> tuple[Report, dict[str, Any]]:
    """All checks and measurements on one device."""
    report = Report()
    if device.type != "cuda":
        report.skipped.append("CUDA against CPU, CUDA speed and memory: no CUDA device is used")
    if sizes == "tiny":
        report.skipped.append("full shapes: these are tiny ones; give --sizes full")
    if not HAS_PEFT:
        report.skipped.append("LoRA: the package peft is missing; item table, core and bias train")
    for shape in shapes:
        compare(shape, device, report)
        measure(shape, device, report)
    for line in report.skipped:
        print(f"skipped: {line}")
    return report, hardware(device)


def main() -> None:
    """Run, print, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--sizes", choices=tuple(SHAPES))
    parser.add_argument("--only", default="", help="shapes whose name contains this")
    parser.add_argument("--users", type=int, help="at most so many clients of each shape")
    arguments = parser.parse_args()
    keep_freed_memory()
    device = choose_device(arguments.device)
    sizes = arguments.sizes or ("full" if device.type == "cuda" else "tiny")
    shapes = [
        replace(shape, users=min(shape.users, arguments.users or shape.users))
        for shape in SHAPES[sizes]
        if arguments.only in shape.name
    ]
    report, machine = run(device, sizes, shapes)
    if arguments.out:
        found = {
            "command": f"python benchmarks/gpu.py --device {device.type} --sizes {sizes}"
            + (f" --only {arguments.only}" if arguments.only else "")
            + (f" --users {arguments.users}" if arguments.users else ""),
            "machine": machine,
            "sizes": sizes,
            "checks": report.checks,
            "measured": report.speeds,
            "skipped": report.skipped,
        }
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.exit(not report.passed)


if __name__ == "__main__":
    main()
