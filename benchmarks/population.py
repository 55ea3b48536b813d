"""Peak memory and time of the same three rounds over 10,000 and 1,000,000 people.

    python benchmarks/population.py [--users 10000,1000000] [--repeats 1]

Each size runs `starling simulate --preset million --users N` in a process of its own, the sizes
taking turns; its peak resident memory is what the operating system says of it when it ends. Prints
a table with the ratio to the first size; writes `benchmarks/results/population.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from shared.config.presets import preset_file

PRESET = "million"
RESULTS = Path(__file__).parent / "results" / "population.json"
_UNIT = 1 if platform.system() == "Darwin" else 1024  # bytes per unit of ru_maxrss


def measure(users: int) -> dict[str, Any]:
    """One run in a process of its own: seconds, peak bytes, and what it measured."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        arguments = ["simulate", "--preset", PRESET, "--users", str(users), "--out", str(out)]
        command = [sys.executable, "-m", "starling", *arguments, "--quiet"]
        started = time.monotonic()
        child = os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
        )
        _, status, used = os.wait4(child, 0)
        if status:
            sys.exit(f"{' '.join(command)}: ended with {os.waitstatus_to_exitcode(status)}")
        results = json.loads((out / "results.json").read_text(encoding="utf-8"))
        (point,) = results["points"]
        return {
            "users": users,
            "peak_bytes": used.ru_maxrss * _UNIT,
            "seconds": time.monotonic() - started,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "federation_seconds": point["seconds"],
            "evaluated_users": results["data"]["evaluated_users"],
            "hr@10": point["metrics"]["hr@10"],
            "environment": results["environment"],
        }


def main() -> None:
    """Measure every size and compare with the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", default="10000,1000000")
    parser.add_argument("--repeats", type=int, default=1)
    chosen = parser.parse_args()
    sizes = [int(size) for size in chosen.users.split(",")]
    runs = [measure(size) for _ in range(chosen.repeats) for size in sizes]
    peaks = {size: max(r["peak_bytes"] for r in runs if r["users"] == size) for size in sizes}
    fastest = {size: min(r["cpu_seconds"] for r in runs if r["users"] == size) for size in sizes}
    print(f"{'users':>10} {'peak MiB':>9} {'ratio':>6} {'CPU s':>7} {'ratio':>6}")
    for size in sizes:
        memory, work = peaks[size] / peaks[sizes[0]], fastest[size] / fastest[sizes[0]]
        peak = peaks[size] / 2**20
        print(f"{size:>10,} {peak:>9.0f} {memory:>6.3f} {fastest[size]:>7.1f} {work:>6.2f}")
    environment = runs[0]["environment"]
    for run in runs:
        del run["environment"]
    report = {
        "command": "python benchmarks/population.py " + " ".join(sys.argv[1:]),
        "settings": preset_file(PRESET).read_text(encoding="utf-8"),
        "environment": environment,
        "memory_ratio": peaks[sizes[-1]] / peaks[sizes[0]],
        "runs": runs,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
