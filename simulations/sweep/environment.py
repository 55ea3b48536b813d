"""What results say before anything is computed: the data, the settings, and what computes."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from shared.config import to_dict
from shared.files import read_record, write_atomically
from shared.run_files import RESULTS_SCHEMA
from simulations.results import VERSIONS, Results, Tree
from simulations.sweep.machines import Machines

_PACKAGES = [name for name in VERSIONS if name not in ("python", "platform")]


def opening(simulation: Machines) -> Results:
    """The results of a sweep that has no point yet."""
    return Results(
        {
            "schema": RESULTS_SCHEMA,
            "starling": importlib.metadata.version("starling"),
            "complete": False,
            "data": _data(simulation),
            "config": to_dict(simulation.config),
            "environment": environment(simulation),
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
        "interactions": simulation.interactions,
        **simulation.protocol.stated(),
        **population.catalogue.stated(),
    }


def environment(simulation: Machines) -> Tree:
    """What computes: versions, the machine, and how it is used."""
    return {
        **{name: importlib.metadata.version(name.replace("_", "-")) for name in _PACKAGES},
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


def worked_in(file: Path, now: Tree) -> list[Tree]:
    """Every environment in which a point was worked on, this one the last.

    Parameters
    ----------
    file : Path
        Where they are kept until the point is finished: a process that begins or continues it adds
        its own, unless it is that of the process before.
    now : mapping
        This process's.
    """
    known: list[Tree] = (
        read_record(file, ("environments",))["environments"] if file.exists() else []
    )
    if known[-1:] != [now]:
        known.append(now)
        write_atomically(file, json.dumps({"environments": known}))
    return known


def another_version(before: Sequence[Tree], now: Tree) -> str:
    """In which versions a run was begun that is continued in others; empty if in none."""
    told = []
    for name in VERSIONS:
        then = sorted({str(each[name]) for each in before if name in each} - {str(now[name])})
        told += [f"{name} {', '.join(then)} (here {now[name]})"] if then else []
    if not told:
        return ""
    return (
        f"this run was worked on with {'; '.join(told)}: results.json names what computed each part"
    )
