"""What computing the backbone in bf16 does to accuracy: the same runs in float32 and in bf16.

    python benchmarks/precision.py [--data movielens-100k] [--epsilons inf,8] [--rounds N]
                                   [--seed 0]

Runs `starling simulate` (preset `default`, no references) once per type, the same seed. Prints a
line per point; writes `benchmarks/results/precision.json`. With the preset's own rounds this takes
many minutes on a CPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "precision.json"
KEPT = ("hr@10", "hr@10_se", "ndcg@10", "full_hr@10", "full_ndcg@10")


def run(dtype: str, chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One command's results."""
    command = [sys.executable, "-m", "starling", "simulate", "--quiet", "--out", str(folder)]
    command += ["--data", chosen.data, "--epsilon", chosen.epsilons, "--seeds", str(chosen.seed)]
    command += ["--references", "none", "--dtype", dtype]
    command += ["--rounds", str(chosen.rounds)] if chosen.rounds else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Run each type and put them side by side."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="movielens-100k")
    parser.add_argument("--epsilons", default="inf,8")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    rows = []
    for dtype in ("float32", "bf16"):
        with tempfile.TemporaryDirectory() as name:
            found = run(dtype, chosen, Path(name) / "run")
        for point in found["points"]:
            row = {"dtype": dtype, "epsilon": point["epsilon_target"]}
            row |= {"seconds": point["seconds"]}
            row |= {key: point["metrics"][key] for key in KEPT}
            rows.append(row)
            print(
                f"{dtype:8} epsilon {row['epsilon']!s:4} HR@10 {row['hr@10']:.3f} NDCG@10 "
                f"{row['ndcg@10']:.3f}  full {row['full_hr@10']:.3f}  {row['seconds']:.0f} s",
                flush=True,
            )
    rows.sort(key=lambda row: (str(row["epsilon"]), row["dtype"] != "float32"))
    report = {
        "command": "python benchmarks/precision.py " + " ".join(sys.argv[1:]),
        "environment": found["environment"],
        "rows": rows,
    }
    chosen.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
