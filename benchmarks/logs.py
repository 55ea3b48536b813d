"""The default settings on logs that nobody tuned on: each point beside what it has to beat.

    python benchmarks/logs.py [--data NAME,NAME,...] [--users 3000] [--preset default]
                              [--epsilon 8,inf] [--delta 1e-4] [--device auto] [--at-once 1]
                              [--runs FOLDER] [--out FILE]

Runs `starling simulate` on every log, one seed, with all references but people on their own, and
reads its `results.json`. A log that this machine lacks is left out, in words; a run that is refused
stands in the results with the line that refused it. Runs lie under `--runs` and are continued
there, not computed twice.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # found without being installed

from machine import hardware, versions  # noqa: E402 (needs the path above)

LOGS = (
    "movielens-100k",
    "movielens-latest-small",
    "movielens-1m",
    "amazon-software",
    "amazon-arts-office",
    "world",
)
LARGE = ("movielens-1m", "amazon-arts-office", "world")  # more people than three thousand, or any
METRICS = ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10")
REFERENCES = "popularity,zero_shot,centralized,same_model"


def command_of(log: str, options: argparse.Namespace) -> list[str]:
    """Of one run, as a person would type it."""
    command = ["simulate", "--data", log, "--preset", options.preset, "--seeds", "0"]
    command += ["--epsilon", options.epsilon, "--delta", options.delta]
    command += ["--references", REFERENCES, "--device", options.device]
    return command + ["--users", str(options.users)] * (log in LARGE)


def measured(log: str, options: argparse.Namespace) -> dict[str, Any]:
    """One log's row: what `simulate` found, or why it did not."""
    folder = options.runs / log
    asked = command_of(log, options)
    started = folder / "config.toml"
    where = ["--resume", str(folder)] if started.exists() else [*asked[1:], "--out", str(folder)]
    program = [sys.executable, str(ROOT / "starling.py"), "simulate", *where, "--quiet"]
    begun = time.monotonic()
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    row: dict[str, Any] = {"log": log, "command": " ".join(["starling", *asked])}
    row["seconds"] = round(time.monotonic() - begun, 1)
    print(f"{log}: exit {done.returncode} after {row['seconds']:.0f} s", flush=True)
    if done.returncode:
        return row | {"refused": (done.stderr.strip().splitlines() or ["no word"])[-1]}
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    found = {name: entry["metrics"] for name, entry in results["references"].items()}
    for point in results["points"]:
        name = f"eps {point['epsilon_target']}"
        found[name] = point["metrics"]
        found[f"start of {name}"] = point["references"]["start"]["metrics"]
    told = {name: {m: round(each[m], 4) for m in METRICS} for name, each in found.items()}
    verdicts = {
        f"eps {point['epsilon_target']}": {
            name: {metric: found["verdict"] for metric, found in each.items()}
            for name, each in point["compared"].items()
        }
        for point in results["points"]
    }
    return row | {"data": results["data"], "metrics": told, "verdicts": verdicts}


def present(names: list[str]) -> list[str]:
    """Those that are on this machine; a word about the others."""
    from shared.data.sources import known_sources

    here = {source.name for source in known_sources() if source.folder is not None} | {"world"}
    for name in names:
        if name not in here:
            print(f"left out: {name} is not on this machine", flush=True)
    return [name for name in names if name in here]


def main() -> None:
    """Run them all and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=",".join(LOGS))
    parser.add_argument("--users", type=int, default=3000, help="At most so many, of larger logs.")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--epsilon", default="8,inf")
    parser.add_argument("--delta", default="1e-4")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs") / "logs")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "logs.json")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.at_once) as pool:
        rows = list(pool.map(lambda log: measured(log, options), present(options.data.split(","))))
    found = {
        "command": " ".join(["python", "benchmarks/logs.py", *sys.argv[1:]]),
        "machine": hardware(),
        "versions": versions(),
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
