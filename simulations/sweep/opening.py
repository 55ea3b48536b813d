"""What results say before anything is computed: the data, the settings, and what computes."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import torch

from shared.config import to_dict
from shared.data.split import MIN_EVALUATED
from simulations.results import SCHEMA, Results, Tree
from simulations.sweep.machines import Machines

_PACKAGES = ("torch", "flwr", "transformers", "peft", "opacus", "dp-accounting", "numpy")


def opening(bench: Machines) -> Results:
    """The results of a sweep that has no point yet."""
    return Results(
        {
            "schema": SCHEMA,
            "starling": importlib.metadata.version("starling"),
            "complete": False,
            "data": _data(bench),
            "config": to_dict(bench.config),
            "environment": _environment(bench),
            "points": [],
            "references": {},
        }
    )


def _data(bench: Machines) -> Tree:
    config, population = bench.config.data, bench.population
    return {
        "spec": config.spec,
        "name": population.name,
        "users": len(population),
        "items": len(population.catalogue),
        "interactions": population.interactions,
        "digest": population.digest,
        "evaluated_users": sum(
            len(population.history(user)) >= MIN_EVALUATED for user in bench.evaluated
        ),
        "negatives": config.negatives,
    }


def _environment(bench: Machines) -> Tree:
    versions = {name.replace("-", "_"): importlib.metadata.version(name) for name in _PACKAGES}
    return {
        **versions,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cpus": os.cpu_count(),
        **_workers(bench),
        "dtype": bench.config.engine.dtype,
        "batching": bench.engine(bench.config.model).batching,
        "checkpointing": bench.config.engine.checkpointing,
        "backbone_sha256": bench.backbone_digest,
    }


def _workers(bench: Machines) -> Tree:
    """What computes: this process, or so many others."""
    if pool := bench.workers():
        share, device = pool.session.share, pool.session.device
        return {"workers": share.workers, "threads": share.cpus, "device": device}
    device = str(bench.engine(bench.config.model).device)
    return {"threads": torch.get_num_threads(), "device": device}
