"""Client updates a second: the cohort engine beside its peers, on the same work.

    python benchmarks/speed.py [--peers sequential,ours,...] [--sizes minilm|qwen|tiny|tiny-qwen]
                               [--repeats 3] [--cohorts 3] [--device cpu|cuda] [--out FILE]

Every repeat runs each peer once in a fresh process, in another order each time; start-up is told
apart from the steady rate. All compute with two threads (Flower: two actors of one). The updates of
one cohort are compared with ours: further than 1e-3 apart, it was not the same work, and the exit
code is 1. What is not installed is skipped, in words.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import TreeMemory, hardware, load, versions
from peers import PEERS
from work import BUDGET_MIB, CLIP, COHORT, EXAMPLE_CLIP, RATE, SEED, SIZES, Work

HERE = Path(__file__).resolve().parent
LIMIT = 1e-3  # relative distance of an update from ours
MEASURED = 256  # updates of the rate with start-up
# At least so many times as fast as each peer, by device.
FASTER = {
    "cpu": {"sequential": 1.5, "pfl": 1.6, "flower": 2.0, "flower-naive": 10.0},
    "cuda": {"sequential": 10.0, "pfl": 10.0},
}
SUMMED = "sum"
_PATIENCE = 900  # seconds for one process


def environment(threads: int) -> dict[str, str]:
    """Of every peer: its threads, no telemetry, nothing fetched."""
    paths = [str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
    # How threads wait is left to the default, which favours peers with many small products.
    kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    }


def start(name: str, size: str, units: list[str], chosen: argparse.Namespace, out: Path) -> Any:
    """One peer once; its report, or the line that says why there is none."""
    command = [sys.executable, str(HERE / "peers" / "process.py"), name]
    command += ["--size", size, "--units", ",".join(units), "--cohorts", str(chosen.cohorts)]
    command += ["--threads", str(chosen.threads), "--device", chosen.device]
    command += ["--out", str(out), "--started", str(time.time())]
    with (out / "log").open("w") as log:
        # A tree of processes shares the cores: as many actors as others have threads, one each.
        threads = 1 if PEERS[name].tree else chosen.threads
        child = subprocess.Popen(
            command,
            env=environment(threads),
            stdout=log,
            stderr=log,
            cwd=HERE.parent,
            start_new_session=True,
        )
        # Others are one process, which knows its own peak.
        memory = TreeMemory(child.pid) if PEERS[name].tree else None
        try:
            code = child.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # with what it started
            code = child.wait()
        peak = memory.stop() if memory else 0
    if code:
        lines = (out / "log").read_text(errors="replace").strip().splitlines()
        return f"{name}: {lines[-1] if lines else f'exit code {code}'}"
    report = json.loads((out / "measured.json").read_text())
    for row in report["rows"]:
        row["first"] = np.load(out / f"{row['unit']}.npy")
        row["peak_bytes"] = max(row["peak_bytes"], peak)
    return report


class Measured:
    """All repeats of all peers."""

    def __init__(self, size: str, chosen: argparse.Namespace) -> None:
        self.size, self.chosen = size, chosen
        self.repeats: list[dict[str, Any]] = []
        self.skipped: list[str] = []
        self.first: dict[tuple[str, str], np.ndarray] = {}  # updates of the first cohort

    def run(self) -> None:
        """Every repeat, each in another order."""
        names = [name for name in self.chosen.peers.split(",") if name]
        for repeat in range(self.chosen.repeats):
            turn = repeat % max(len(names), 1)
            for name in names[turn:] + names[:turn]:
                if not any(line.startswith(f"{name}:") for line in self.skipped):
                    self._one(name, repeat)

    def _one(self, name: str, repeat: int) -> None:
        wanted = self.chosen.units.split(",") if self.chosen.units else PEERS[name].units
        units = [unit for unit in PEERS[name].units if unit in wanted]
        if not units:
            return
        before = load()
        with tempfile.TemporaryDirectory() as folder:
            turn = repeat % len(units)  # nobody is always the one that comes warm
            turned = units[turn:] + units[:turn]
            report = start(name, self.size, turned, self.chosen, Path(folder))
        if isinstance(report, str):
            self.skipped.append(report)
            print(f"skipped {report}", flush=True)
            return
        for place, row in enumerate(report["rows"]):
            self.first.setdefault((name, row["unit"]), row.pop("first"))
            row.pop("first", None)
            if place:
                del row["startup_seconds"]  # the process had started
            rate = row["updates"] * len(row["seconds"]) / sum(row["seconds"])
            self.repeats.append(
                {"peer": name, "repeat": repeat, "load": before, "rate": rate} | row
            )
            print(f"{repeat + 1}  {name:13} {row['unit']:8} {rate:8.2f} updates/s", flush=True)

    def rows(self) -> list[dict[str, Any]]:
        """Medians over the repeats, and the distance from ours."""
        found = []
        for (name, unit), first in self.first.items():
            mine = [r for r in self.repeats if (r["peer"], r["unit"]) == (name, unit)]
            rates = [r["rate"] for r in mine]
            started = [r for r in self.repeats if r["peer"] == name and "startup_seconds" in r]
            startup = [r["startup_seconds"] for r in started if unit == PEERS[name].units[0]]
            row: dict[str, Any] = {
                "peer": name,
                "unit": unit,
                "dtype": PEERS[name].dtype,
                "updates_per_second": median(rates),
                "slowest": min(rates),
                "fastest": max(rates),
                # Of the repeat in which it was the process's first, if it was: a peak only grows.
                "peak_bytes": min(r.get("peak_gpu_bytes", r["peak_bytes"]) for r in mine),
                "apart": self._apart(first, unit),
            }
            if startup:
                row["startup_seconds"] = median(startup)
                rest = MEASURED / row["updates_per_second"]
                row["with_startup"] = MEASURED / (row["startup_seconds"] + rest)
            found.append(row)
        return found

    def _apart(self, first: np.ndarray, unit: str) -> float | None:
        """Largest relative distance of a client's update (or the sum) from ours."""
        ours = self.first.get(("ours", "none" if unit == SUMMED else unit))
        if ours is None:
            return None
        ours = ours.astype(np.float64)
        ours = ours.sum(0, keepdims=True) if unit == SUMMED else ours[: len(first)]
        away = np.linalg.norm(first - ours, axis=1) / np.linalg.norm(ours, axis=1)
        return float(away.max())


def targets(rows: list[dict[str, Any]], device: str) -> list[dict[str, Any]]:
    """What was promised for the full work on a device, and what was found."""
    by = {(row["peer"], row["unit"]): row for row in rows}
    ours = by.get(("ours", "none"))
    if ours is None:
        return []
    found = []

    def note(name: str, value: float, bound: float, most: bool = False) -> None:
        met = value <= bound if most else value >= bound
        word = "at most" if most else "at least"
        found.append({"name": name, "value": value, "target": f"{word} {bound:g}", "met": met})

    for name, bound in FASTER[device].items():
        if peer := by.get((name, "none")):
            ratio = ours["updates_per_second"] / peer["updates_per_second"]
            note(f"times the rate of {name}", ratio, bound)
    if device != "cpu":
        return found
    note("start-up, seconds", ours["startup_seconds"], 6, most=True)
    if private := by.get(("ours", "example")):
        ratio = ours["updates_per_second"] / private["updates_per_second"]
        note("time with clipped examples, times that without", ratio, 1.1, most=True)
    if plain := by.get(("sequential", "none")):
        more = (ours["peak_bytes"] - plain["peak_bytes"]) / 2**20
        note("peak memory beyond the sequential loop's, MiB", more, BUDGET_MIB, most=True)
    return found


def other_work(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Float32 rows whose updates are not ours; NaN is none of ours."""
    compared = [row for row in rows if row["dtype"] == "float32" and row["apart"] is not None]
    return [row for row in compared if not row["apart"] < LIMIT]


def show(rows: list[dict[str, Any]]) -> None:
    """The table, to a terminal."""
    by = {(row["peer"], row["unit"]): row["updates_per_second"] for row in rows}
    print("\npeer          unit      updates/s  ours is  start-up s  peak MiB  apart")
    for row in rows:
        rate, ours = row["updates_per_second"], by.get(("ours", row["unit"]))
        ratio = f"{ours / rate:.2f}x" if ours else ""
        started = f"{row['startup_seconds']:.1f}" if "startup_seconds" in row else ""
        apart = f"{row['apart']:.1e}" if row["apart"] is not None else ""
        print(
            f"{row['peer']:13} {row['unit']:8} {rate:10.2f} {ratio:>8} {started:>11} "
            f"{row['peak_bytes'] / 2**20:9.0f}  {apart}"
        )
    print()


def report(size: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure one size."""
    work = Work(size)
    if work.stands_in:
        print(f"{size}: {work.stands_in}")
    _ = work.vectors  # encodes the catalogue once, for all: nobody's start-up
    measured = Measured(size, chosen)
    measured.run()
    rows = measured.rows()
    show(rows)
    full = size == "minilm" or (size == "qwen" and chosen.device == "cuda")
    goals = targets(rows, chosen.device) if full else []
    for goal in goals:
        word = "met   " if goal["met"] else "MISSED"
        print(f"{word} {goal['name']}: {goal['value']:.2f}, {goal['target']}")
    return {
        "size": size,
        "data": work.population.name,
        "stands_in": work.stands_in,
        "work": work.counts(work.cohort(1)),
        "settings": {
            "cohort": work.size.cohort,
            "seed": SEED,
            "local_lr": RATE,
            "clipping_norm": CLIP,
            "example_clipping_norm": EXAMPLE_CLIP,
        },
        "rows": rows,
        "targets": goals,
        "skipped": measured.skipped,
        "repeats": measured.repeats,
    }


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--units", default="", help="only these of each peer's")
    parser.add_argument("--sizes", default="minilm")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cohorts", type=int, default=3, help=f"of {COHORT}, after one to warm up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    for name, known in itertools.chain(
        ((name, PEERS) for name in chosen.peers.split(",")),
        ((name, SIZES) for name in chosen.sizes.split(",")),
    ):
        if name not in known:
            parser.error(f"{name!r} is unknown; choose from {', '.join(known)}")
    started, before = time.time(), load()
    if before > 0.5:
        print(f"The machine is not idle: load {before:.1f}. Figures will be too low.")
    found = [report(size, chosen) for size in chosen.sizes.split(",")]
    if chosen.out:
        whole = {
            "command": "python benchmarks/speed.py " + " ".join(sys.argv[1:]),
            "machine": hardware(),
            "versions": versions(),
            "threads": chosen.threads,
            "device": chosen.device,
            "load": before,
            "seconds": time.time() - started,
            "sizes": found,
        }
        chosen.out.parent.mkdir(exist_ok=True)
        chosen.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    far = other_work([row for size in found for row in size["rows"]])
    for row in far:
        print(f"NOT THE SAME WORK: {row['peer']} {row['unit']}: {row['apart']:.1e} from ours")
    failed = [line for size in found for line in size["skipped"] if "skipped: " not in line]
    sys.exit(1 if far or failed else 0)


if __name__ == "__main__":
    main()
