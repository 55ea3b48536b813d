"""Regret of exploration policies on the online world, against greedy and against the budget.

    python benchmarks/exploration.py [--out DIR] [--epsilon 8,inf] [--read DIR,DIR] [--choose]

Runs `starling simulate --online` (2,000 people, 1,000 items, 30 days, a shift on day 15, five
worlds), has `starling verify` recompute every epsilon, and says for each policy and budget whether
its 95% interval of cumulative regret over worlds is apart from greedy's, and after how many days
regret is back after the shift. Writes `benchmarks/results/exploration.json` and
`docs/pictures/exploration.png`. `--read` takes finished runs, such as one of each world. `--choose`
is how strengths were chosen: the same on world 100, which no figure is from.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from simulations.exploration.figure import draw_online
from simulations.exploration.outcome import FILE, Row, read_outcome, summarised

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "exploration.json"
PICTURE = ROOT / "docs" / "pictures" / "exploration.png"
POLICIES = "greedy,thompson=0.25,linucb=0.5"
CANDIDATES = "greedy,thompson=0.25,thompson=0.5,thompson=1,linucb=0.25,linucb=0.5,linucb=1,linucb=2"


def starling(*words: str) -> int:
    """Run a command of this checkout; its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "starling", *words], check=False, cwd=ROOT
    ).returncode


def run(folder: Path, policies: str, epsilons: str, seeds: str) -> None:
    """One online run into a new folder."""
    words = ["simulate", "--online", "--policies", policies, "--epsilon", epsilons]
    if starling(*words, "--seeds", seeds, "--out", str(folder)):
        sys.exit("the run failed")


def told(row: Row, greedy: Row) -> dict[str, Any]:
    """A row, and whether its interval is below greedy's under the same budget."""
    ends = (row.regret.high, greedy.regret.low)
    apart = None if None in ends else bool((ends[0] or 0.0) < (ends[1] or 0.0))
    return {
        "policy": row.policy,
        "epsilon": "inf" if row.epsilon == float("inf") else row.epsilon,
        "regret": vars(row.regret),
        "clicks": vars(row.reward),
        "saved_against_greedy": None if row.saved is None else vars(row.saved),
        "below_greedy_with_intervals_apart": apart if row.policy != "greedy" else None,
        "days_to_recover": row.recovered,
    }


def main() -> None:
    """Run, verify, compare, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--epsilon", default="8,inf")
    parser.add_argument("--read", default="")
    parser.add_argument("--choose", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = given.out or Path(place) / "run"
        if given.choose:
            run(folder, CANDIDATES, "8,inf", "100")
            return
        folders = [Path(word) for word in given.read.split(",") if word]
        if not folders:
            run(folder, POLICIES, given.epsilon, "0,1,2,3,4")
            folders = [folder]
        codes = [starling("verify", str(one)) for one in folders]
        read = [read_outcome(one / FILE) for one in folders]
        config, points = read[0][0]["config"], [point for _, some in read for point in some]
        shift = int(config["shift"])
        rows = summarised(points, shift)
        draw_online(points, rows, shift, PICTURE)
        greedy = {row.epsilon: row for row in rows if row.policy == "greedy"}
        found = [told(row, greedy[row.epsilon]) for row in rows]
        kept = {
            "config": config | {"seeds": sorted({point.seed for point in points})},
            "verify_exit_codes": codes,
            "noise_multipliers": {f"{p.budget:g}": p.noise_multiplier for p in points},
            "rows": found,
            "regret_by_world": [
                [p.policy, f"{p.budget:g}", p.seed, round(sum(p.course.regret), 4)] for p in points
            ],
        }
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    for row in found:
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
