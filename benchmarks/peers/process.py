"""One peer in a process of its own; `benchmarks/speed.py` starts it.

    python benchmarks/peers/process.py PEER --size minilm --units none,example --cohorts 3
                                       --threads 2 --device cpu --out FOLDER [--started SECONDS]

Writes FOLDER/measured.json and, per unit, FOLDER/UNIT.npy: the updates of the first cohort.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import Tensor
from work import SIZES, UNITS, Work

from peers import PEERS, runner

_UNIT = 1 if platform.system() == "Darwin" else 1024  # bytes per unit of ru_maxrss


class Clock:
    """Notes when each cohort is finished; keeps the first one's updates."""

    def __init__(self) -> None:
        self.stamps: list[float] = []
        self.first: Tensor | None = None

    @property
    def wants(self) -> bool:
        """The first cohort warms up, is compared, and is not measured."""
        return not self.stamps

    def __call__(self, updates: Tensor | None) -> None:
        """A cohort is finished."""
        if self.wants:
            self.first = updates
        self.stamps.append(time.time())


def measure(work: Work, name: str, unit: str, cohorts: int, began: float) -> dict[str, Any]:
    """Seconds of one cohort that warms up and of each one after it."""
    clock, peer = Clock(), PEERS[name]
    users = [work.cohort(n) for n in range((1 if peer.slow else cohorts) + 1)]
    first = min(len(users[0]), 16) if peer.slow else len(users[0])
    runner(peer)(work, unit, [users[0][:first], *users[1:]], clock)
    seconds = np.diff(clock.stamps)
    if clock.first is None:
        raise RuntimeError(f"{name} {unit}: gave no updates")
    each = len(users[1])
    return {
        "unit": unit,
        "updates": each,  # of one cohort
        "seconds": seconds.tolist(),
        # From the start to the end of the first cohort, less what a cohort takes.
        "startup_seconds": clock.stamps[0] - began - float(np.median(seconds)) * first / each,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT,
        "first": clock.first.numpy(),
        **({"peak_gpu_bytes": torch.cuda.max_memory_allocated()} if on_gpu(work) else {}),
    }


def on_gpu(work: Work) -> bool:
    """Whether it computes there."""
    return work.device.type == "cuda"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("peer", choices=tuple(PEERS))
    parser.add_argument("--size", choices=tuple(SIZES), default="minilm")
    parser.add_argument("--units", default="none")
    parser.add_argument("--cohorts", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--started", type=float)
    chosen = parser.parse_args()
    began = chosen.started or time.time()
    torch.set_num_threads(chosen.threads)
    work = Work(chosen.size, chosen.device, PEERS[chosen.peer].dtype)
    try:
        found = rows(work, chosen, began)
    except ImportError as error:
        sys.exit(f"skipped: {error}")
    report = {"rows": found, "stands_in": work.stands_in, "data": work.population.name}
    (chosen.out / "measured.json").write_text(json.dumps(report), encoding="utf-8")


def rows(work: Work, chosen: argparse.Namespace, began: float) -> list[dict[str, Any]]:
    """All units in turn; the first one's start-up is that of the process."""
    found = []
    for unit in chosen.units.split(","):
        if unit not in UNITS:
            sys.exit(f"--units {unit}: choose from {', '.join(UNITS)}")
        row = measure(work, chosen.peer, unit, chosen.cohorts, began)
        np.save(chosen.out / f"{unit}.npy", row.pop("first"))
        found.append(row)
        began = time.time()
    return found


if __name__ == "__main__":
    main()
