"""What results say before anything is computed: the data, the settings, and what computes."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import torch

from shared.config import to_dict
from shared.run_files import RESULTS_SCHEMA
from simulations.results import Results, Tree
from simulations.sweep.machines import Machines

_PACKAGES = ("torch", "flwr", "transformers", "peft", "opacus", "dp-accounting", "numpy")


def opening(simulation: Machines) -> Results:
    """The results of a sweep that has no point yet."""
    return Results(
        {
            "schema": RESULTS_SCHEMA,
            "starling": importlib.metadata.version("starling"),
            "complete": False,
            "data": _data(simulation),
            "config": to_dict(simulation.config),
            "environment": _environment(simulation),
            "points": [],
            "references": {},
        }
    )


def _data(simulation: Machines) -> Tree:
    config, population = simulation.config.data, simulation.population
    return {
        "spec": config.spec,
        "name": population.name,
        "users": len(population),
        "items": len(population.catalogue),
        "interactions": population.interactions,
        **simulation.protocol.stated(),
    }


def _environment(simulation: Machines) -> Tree:
    versions = {name.replace("-", "_"): importlib.metadata.version(name) for name in _PACKAGES}
    return {
        **versions,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cpus": os.cpu_count(),
        **_workers(simulation),
        "dtype": simulation.config.engine.dtype,
        "batching": simulation.engine(simulation.config.model).batching,
        "checkpointing": simulation.config.engine.checkpointing,
        "backbone_sha256": simulation.backbone_digest,
    }


def _workers(simulation: Machines) -> Tree:
    """What computes: this process, or so many others."""
    if pool := simulation.workers():
        share, device = pool.session.share, pool.session.device
        return {"workers": share.workers, "threads": share.cpus, "device": device}
    device = str(simulation.engine(simulation.config.model).device)
    return {"threads": torch.get_num_threads(), "device": device}
