"""The same points on several engines: how far apart adapters and metrics are, and how fast it is.

    python benchmarks/compare_engines.py [--engines cohort,ray] [-- options of starling simulate]
    python benchmarks/compare_engines.py -- --data movielens-100k --epsilon 8 --rounds 3
    python benchmarks/compare_engines.py -- --data movielens-100k --trust local --unit example \
        --epsilon 8 --rounds 3

Each engine runs the command in a process of its own, one after the other; the first is what the
others are compared with. Prints a line per engine and point; writes
`benchmarks/results/compare_engines_NAME.json` if `--name` is given.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

RESULTS = Path(__file__).parent / "results"


def run(engine: str, options: list[str], folder: Path) -> dict[str, Any]:
    """One engine's results, with the seconds of the whole command."""
    program = Path(sys.executable).with_name("starling")
    started = time.monotonic()
    command = [str(program), "simulate", *options, "--engine", engine, "--out", str(folder)]
    subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found | {"seconds": time.monotonic() - started}


def vector(folder: Path, point: dict[str, Any]) -> np.ndarray:
    """A point's released adapter, flat."""
    arrays = load_file(folder / point["adapter"])
    return np.concatenate([arrays[name].ravel() for name in sorted(arrays)]).astype(np.float64)


def initial(folder: Path, point: dict[str, Any]) -> np.ndarray:
    """Its adapter before training, flat."""
    name = Path(point["adapter"]).stem
    arrays = load_file(folder / "points" / f"{name}.initial.safetensors")
    return np.concatenate([arrays[name].ravel() for name in sorted(arrays)]).astype(np.float64)


def compare(folder: Path, engines: list[str], results: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of every engine's points against the first engine's."""
    rows = []
    first = results[engines[0]]
    for engine in engines:
        for own, reference in zip(results[engine]["points"], first["points"], strict=True):
            ours, theirs = vector(folder / engine, own), vector(folder / engines[0], reference)
            moved = np.linalg.norm(theirs - initial(folder / engines[0], reference))
            metrics = own["metrics"]
            rows.append(
                {
                    "engine": engine,
                    "epsilon_target": own["epsilon_target"],
                    "epsilon": own["epsilon"],
                    "seed": own["seed"],
                    "moved": float(moved),
                    "apart": float(np.linalg.norm(ours - theirs)),
                    "largest_difference": float(np.abs(ours - theirs).max()),
                    "same_metrics": metrics == reference["metrics"],
                    "hr@10": metrics["hr@10"],
                    "ndcg@10": metrics["ndcg@10"],
                    "updates_per_second": sum(e["participants"] for e in own["history"])
                    / own["seconds"],
                }
            )
    return rows


def main() -> None:
    """Run every engine once and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", default="cohort,ray")
    parser.add_argument("--name", help="of the results file")
    parser.add_argument("options", nargs="*", help="of starling simulate, after --")
    chosen = parser.parse_args()
    engines = chosen.engines.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {engine: run(engine, chosen.options, folder / engine) for engine in engines}
        rows = compare(folder, engines, results)
    for row in rows:
        print(
            f"{row['engine']:10} epsilon {row['epsilon']!s:8.8} seed {row['seed']}  moved "
            f"{row['moved']:.3f}, apart {row['apart']:.2e} (largest "
            f"{row['largest_difference']:.2e}), metrics "
            f"{'the same' if row['same_metrics'] else 'differ'}: HR@10 {row['hr@10']:.3f} NDCG@10 "
            f"{row['ndcg@10']:.3f}, {row['updates_per_second']:.1f} updates/s"
        )
    if chosen.name:
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        found = {
            "options": chosen.options,
            "environment": results[engines[0]]["environment"],
            "seconds": {engine: results[engine]["seconds"] for engine in engines},
            "largest_process_kib": children,
            "rows": rows,
        }
        file = RESULTS / f"compare_engines_{chosen.name}.json"
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
