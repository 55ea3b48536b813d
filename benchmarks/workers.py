"""The same sweep in one process, over one worker and over two: seconds, ratios, equality.

    python benchmarks/workers.py [--workers 1,2] [--repeats 2] [-- options of starling simulate]

Every process computes with one thread. Each run is the command in a process of its own; runs are
interleaved. Start-up is everything before the first point begins: imports, data, Ray, workers; it
is paid once, however long the sweep. Prints a table and writes `benchmarks/results/workers.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from compare_engines import vector

FILE = Path(__file__).parent / "results" / "workers.json"
OPTIONS = (
    "--data movielens-100k --users 400 --epsilon 8,inf --seeds 0,1 --rounds 12 --cohort 64 "
    "--references none --preset default --device cpu"
)


def main() -> None:
    """Run all of them in turn, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("options", nargs="*", help="of starling simulate, after --")
    given = parser.parse_args()
    options = given.options or shlex.split(OPTIONS)
    ways = [0, *(int(word) for word in given.workers.split(","))]
    rows: dict[int, list[dict[str, Any]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as temporary:
        os.environ.setdefault("STARLING_HOME", f"{temporary}/home")
        for repeat in range(given.repeats):
            for way in ways:
                folder = Path(temporary) / f"{way}-{repeat}"
                rows[way].append(run(way, options, folder))
        found = [summary(way, rows, Path(temporary)) for way in ways]
    for line in found:
        print(line.pop("text"))
    report = {"command": " ".join(sys.argv), "options": options, "rows": found}
    report |= {"cpus": os.cpu_count(), "load_before": LOAD}
    FILE.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


LOAD = os.getloadavg()[0]


def run(workers: int, options: list[str], folder: Path) -> dict[str, Any]:
    """One run of the command: seconds until the work begins, and of the work."""
    with place(workers) as where:
        started = time.monotonic()
        process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("starling")),
                *("simulate", *options, *where, "--out", str(folder), "--quiet"),
            ],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        while process.poll() is None and not (folder / "results.json").exists():
            time.sleep(0.02)
        begun = time.monotonic()
        if process.wait():
            raise RuntimeError(f"{workers} worker(s): exit code {process.returncode}")
        ended = time.monotonic()
    return {"start": begun - started, "work": ended - begun}


@contextlib.contextmanager
def place(workers: int) -> Iterator[list[str]]:
    """Where the workers are: a single one needs a cluster, as the command has no use for it."""
    if workers != 1:
        yield ["--workers", str(workers)] if workers else []
        return
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        yield ["--workers", "1", "--ray-address", cluster.address]
    finally:
        cluster.shutdown()


def summary(way: int, rows: dict[int, list[dict[str, Any]]], folder: Path) -> dict[str, Any]:
    """Seconds of one way, its speed against one process, and how far its points are apart."""
    work = statistics.median(row["work"] for row in rows[way])
    alone = statistics.median(row["work"] for row in rows[0])
    start = statistics.median(row["start"] for row in rows[way])
    others = [other for other in rows if other]
    one, many = apart(folder, way, 0), apart(folder, way, others[0] if way else 0)
    name = f"{way} worker(s)" if way else "in process"
    text = (
        f"{name:12} start {start:6.1f} s  work {work:7.1f} s  speed {alone / work:5.2f}  "
        f"adapters apart from one process {one:.1e}, from {others[0]} worker(s) {many:.1e}"
    )
    return {
        "workers": way,
        "start_seconds": start,
        "work_seconds": work,
        "speed_to_one_process": alone / work,
        "apart_from_one_process": one,
        f"apart_from_{others[0]}_worker": many if way else None,
        "runs": rows[way],
        "text": text,
    }


def apart(folder: Path, way: int, other: int) -> float:
    """The largest distance of a point's adapter from another way's, relative to its length."""
    found = []
    results = [
        (place, json.loads((place / "results.json").read_text(encoding="utf-8")))
        for place in (folder / f"{way}-0", folder / f"{other}-0")
    ]
    (ours, mine), (theirs, reference) = results
    for own, point in zip(mine["points"], reference["points"], strict=True):
        one, two = vector(ours, own), vector(theirs, point)
        found.append(float(np.linalg.norm(one - two) / np.linalg.norm(two)))
    return max(found)


if __name__ == "__main__":
    main()
