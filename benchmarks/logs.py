"""The default settings on logs that nobody tuned on: each point beside what it has to beat.

    python benchmarks/logs.py [--data NAME,NAME,...] [--users 3000] [--preset default]
                              [--epsilon 8,inf] [--delta 1e-4] [--rounds N] [--references NAMES]
                              [--device auto] [--at-once 1] [--runs FOLDER] [--out FILE]

Runs `starling simulate` on every log, one seed, with all references but people on their own, and
reads its `results.json`. A log that this machine lacks is left out, in words; a run that is refused
stands in the results with the line that refused it. Runs lie under `--runs` and are continued
there, not computed twice.

Two logs are written out under `--runs` first: `coat`, the ratings of people's own choice in an
order drawn at random, as none is known, items described by their features (Schnabel et al. 2016),
and `movielens-100k-bare`, MovieLens-100K with identifiers in the place of texts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

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
    "coat",
    "movielens-100k-bare",
)
LARGE = ("movielens-1m", "amazon-arts-office", "world")  # more people than three thousand, or any
METRICS = ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10")
REFERENCES = "popularity,zero_shot,centralized,same_model"


def command_of(log: str, options: argparse.Namespace) -> list[str]:
    """Of one run, as a person would type it."""
    spec = str(options.runs / "data" / log) if log in WRITTEN else log
    command = ["simulate", "--data", spec, "--preset", options.preset, "--seeds", "0"]
    command += ["--epsilon", options.epsilon, "--delta", options.delta]
    command += ["--references", options.references, "--device", options.device]
    command += ["--rounds", str(options.rounds)] * (options.rounds is not None)
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
    typed = " ".join(["starling", *asked]).replace(str(options.runs), "runs/logs")
    row: dict[str, Any] = {"log": log, "command": typed}
    row["seconds"] = round(time.monotonic() - begun, 1)
    print(f"{log}: exit {done.returncode} after {row['seconds']:.0f} s", flush=True)
    if done.returncode:
        return row | {"refused": (done.stderr.strip().splitlines() or ["no word"])[-1]}
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    found = {name: entry["metrics"] for name, entry in results["references"].items()}
    for point in results["points"]:
        name = f"eps {point['epsilon_target']}"
        found[name] = point["metrics"]
        if start := point["references"].get("start"):  # without rounds it is the model
            found[f"start of {name}"] = start["metrics"]
    told = {name: {m: round(each[m], 4) for m in METRICS} for name, each in found.items()}
    verdicts = {
        f"eps {point['epsilon_target']}": {
            name: {metric: found["verdict"] for metric, found in each.items()}
            for name, each in point["compared"].items()
        }
        for point in results["points"]
    }
    return row | {
        "data": results["data"],
        "rounds": {
            f"eps {point['epsilon_target']}": point["rounds"] for point in results["points"]
        },
        "metrics": told,
        "verdicts": verdicts,
    }


def coat(folder: Path) -> bool:
    """The Coat log in the documented columns; False where it is not on this machine."""
    data = Path(os.environ.get("STARLING_DATA", ROOT.parent / "shared" / "data")) / "coat"
    if not (data / "train.ascii").exists():
        return False
    ratings = np.loadtxt(data / "train.ascii", dtype=int)
    features = np.loadtxt(data / "user_item_features" / "item_features.ascii", dtype=int)
    told = (data / "user_item_features" / "item_features_map.txt").read_text().split("\n")
    names = [line.partition(":")[2] for line in told if line]
    items = [
        (str(item), "Coat. " + ", ".join(names[place] for place in np.flatnonzero(row)))
        for item, row in enumerate(features)
    ]
    rng = np.random.default_rng(0)
    met = [
        (str(user), str(item), str(place))
        for user, row in enumerate(ratings)
        for place, item in enumerate(rng.permutation(np.flatnonzero(row)))
    ]
    _write(folder, met, items)
    return True


def bare(folder: Path) -> bool:
    """MovieLens-100K without a word on its items; False where it is not on this machine."""
    from shared.data.sources import known_sources, open_log

    known = {source.name: source.folder for source in known_sources()}
    if known["movielens-100k"] is None:
        return False
    log = open_log("movielens-100k")
    ids = log.catalogue.item_ids
    met = [
        (log.user_id(user), ids[item], str(place))
        for user in range(len(log))
        for place, item in enumerate(log.history(user))
    ]
    _write(folder, met, [(item, item) for item in ids])
    return True


WRITTEN = {"coat": coat, "movielens-100k-bare": bare}


def _write(folder: Path, met: list[tuple[str, ...]], items: list[tuple[str, str]]) -> None:
    from shared.data.readers.tables import write_csv

    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "interactions.csv", ("user", "item", "timestamp"), met)
    write_csv(folder / "items.csv", ("item", "text"), items)


def present(names: list[str], runs: Path) -> list[str]:
    """Those that are on this machine, or can be written here; a word about the others."""
    from shared.data.sources import known_sources

    here = {source.name for source in known_sources() if source.folder is not None} | {"world"}
    here |= {name for name in names if name in WRITTEN and WRITTEN[name](runs / "data" / name)}
    for name in names:
        if name not in here:
            print(f"left out: {name} is not on this machine", flush=True)
    return [name for name in names if name in here]


def _told(given: list[str]) -> list[str]:
    """Arguments without where this machine keeps its runs."""
    places = {at for at, word in enumerate(given) if word in ("--runs", "--out")}
    return [word for at, word in enumerate(given) if not {at, at - 1} & places]


def main() -> None:
    """Run them all and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=",".join(LOGS))
    parser.add_argument("--users", type=int, default=3000, help="At most so many, of larger logs.")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--epsilon", default="8,inf")
    parser.add_argument("--delta", default="1e-4")
    parser.add_argument("--rounds", type=int, help="Of every point; by default as settings say.")
    parser.add_argument("--references", default=REFERENCES)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs") / "logs")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "logs.json")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.at_once) as pool:
        logs = present(options.data.split(","), options.runs)
        rows = list(pool.map(lambda log: measured(log, options), logs))
    found = {
        "command": " ".join(["python", "benchmarks/logs.py", *_told(sys.argv[1:])]),
        "machine": hardware(),
        "versions": versions(),
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
