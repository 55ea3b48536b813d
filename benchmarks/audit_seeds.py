"""Whether bounds stay below theory, and planted mistakes are named, seed by seed.

    PYTHONPATH=. python benchmarks/audit_seeds.py [--seeds 20] [--planted 10]
        [--out benchmarks/results/audit_seeds.json]

Replays of a tiny federation: 320 people of `world` and 680 trained numbers, of which 300 people or
windows are canaries; and those of `tests/support/auditing`, in which mistakes are planted one by
one. Correct code is replayed too: there nothing may be flagged. Of 0 seeds
what stands in the file is kept. The tables of docs/audit-replay.md are printed.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from machine import hardware, load, versions
from tables import table

from shared.config import ExperimentConfig, at_epsilon, from_dict
from simulations.audit.bounds import ANY, GAUSSIAN, bounds
from simulations.audit.replay.replay import Replay
from simulations.engine.simulation import Simulation
from tests.support.auditing import planted
from tests.support.auditing.tried import BUGS, KINDS, OF_A_PERSON, named, settings
from tests.support.tiny import save_tiny_bert

CANARIES = 300
POINTS = (("user", 1.0), ("user", 4.0), ("user", 8.0), ("example", 8.0), ("once", 8.0))
Figures = dict[str, Any]


def federation(backbone: Path, kind: str) -> ExperimentConfig:
    """Everyone in every round of two; of "once" in the histogram, and in nothing else."""
    unit, windows = ("example", 2) if kind == "example" else ("user", 1)
    return from_dict(
        {
            "data": {"spec": "world", "users": 320, "world_items": 120, "evaluated_users": 2},
            "model": {
                "backbone": str(backbone),
                "layers": 0,
                "max_length": 8,
                "lora_rank": 2,
                "projection_rank": 8,
                "moments_rank": 0,
            },
            "train": {"max_windows": windows},
            "federation": {
                "rounds": 0 if kind == "once" else 2,
                "cohort": 1.0,
                "server_optimizer": "fedavgm",
                "server_lr": 0.3,
                "popularity_start": kind == "once",
            },
            "privacy": {"clipping_norm": 0.5, "delta": 1e-5, "unit": unit},
        }
    )


def evidence(backbone: Path, seeds: int) -> list[Figures]:
    """Of every point, view and kind of bound: the bounds of all seeds."""
    found = []
    for kind, epsilon in POINTS:
        simulation = Simulation(federation(backbone, kind))
        of: dict[tuple[str, str], list[float]] = {}
        flagged = Counter[str]()
        begun = time.perf_counter()
        for seed in range(seeds):
            replay = Replay(at_epsilon(simulation.config, epsilon, seed), simulation)
            for each in bounds(replay.run(replay.canaries(CANARIES))):
                if each.name in (ANY, GAUSSIAN) and "bound" in each.figures:
                    of.setdefault((each.threat_model, each.name), []).append(each.figures["bound"])
                    flagged[each.name] += each.verdict == "violated"
        seconds = (time.perf_counter() - begun) / seeds
        for (view, name), values in of.items():
            found.append({"kind": kind, "epsilon": epsilon, "view": view, "bound": name})
            found[-1] |= {"values": values, "seconds": seconds, "flagged": flagged[name]}
        said(f"{kind}, epsilon {epsilon:g}: {seconds:.1f} s a run")
    return found


def mistakes(backbone: Path, seeds: int) -> list[Figures]:
    """What the auditor calls each mistake, and correct code, by seed."""
    opened, found = dict[str, Simulation](), []

    def replay(kind: str, seed: int) -> Replay:
        kind = "" if kind == "neighbours" else kind
        if kind not in opened:
            opened[kind] = Simulation(settings(backbone, **OF_A_PERSON[kind]))
        return Replay(at_epsilon(opened[kind].config, 8.0, seed), opened[kind])

    for kind in KINDS:
        names = [named(replay(kind, seed), kind) for seed in range(1, seeds + 1)]
        found.append({"mistake": f"none ({kind or 'sampled'})", "name": None, "said": names})
        said(found[-1]["mistake"])
    for bug, (kind, name) in BUGS.items():
        names = []
        for seed in range(1, seeds + 1):
            with pytest.MonkeyPatch.context() as patch:
                at = replay(kind, seed)
                bug(patch, at)
                names.append(named(at, kind))
            planted.forget()
        found.append({"mistake": bug.__name__, "name": name, "said": names})
        said(bug.__name__)
    return found


def said(words: str) -> None:
    """Progress, aside from what is printed."""
    print(words, file=sys.stderr, flush=True)


def main() -> None:
    """Print the tables, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--planted", type=int, default=10)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    told: Figures = {"bounds": [], "mistakes": []}
    if given.out and given.out.exists():
        told |= json.loads(given.out.read_text())
    told |= {"hardware": hardware(), "versions": versions(), "load": load()}
    with tempfile.TemporaryDirectory() as folder:
        backbone = save_tiny_bert(Path(folder))
        for part, tried, seeds in (
            ("bounds", evidence, given.seeds),
            ("mistakes", mistakes, given.planted),
        ):
            told[part] = tried(backbone, seeds) if seeds else told[part]
            if given.out:
                given.out.write_text(json.dumps(told, indent=1) + "\n")
    print(table("kind|epsilon|view|bound|median|least to most|above theory", rows(told)))
    lines = [
        [
            each["mistake"].replace("_", " "),
            each["name"] or "nothing",
            f"{each['said'].count(each['name'])} of {len(each['said'])}",
        ]
        for each in told["mistakes"]
    ]
    print("\n" + table("mistake|is called|in seeds", lines))


def rows(told: Figures) -> list[list[str]]:
    """Of bounds."""
    return [
        [
            each["kind"],
            f"{each['epsilon']:g}",
            each["view"],
            each["bound"],
            f"{statistics.median(each['values']):.2f}",
            f"{min(each['values']):.2f} to {max(each['values']):.2f}",
            f"{sum(of > each['epsilon'] for of in each['values'])} of {len(each['values'])}",
        ]
        for each in told["bounds"]
    ]


if __name__ == "__main__":
    main()
