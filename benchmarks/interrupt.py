"""Is a sweep killed at random instants, then resumed, the same as one that was left alone?

    python benchmarks/interrupt.py --kills 20 --seed 0         # a sweep killed again and again
    python benchmarks/interrupt.py --kills 20 --seed 0 --each  # each kill has a sweep of its own
    python benchmarks/interrupt.py --signal INT                # Ctrl-C instead of kill -9

Instants are drawn uniformly over the whole duration of the uninterrupted sweep: imports, start-up,
training, evaluation, figures and report. Compared is everything that a sweep leaves: results
(without `seconds` and `environment`), settings, adapters, curve, and the ledgers' entries (their
identity and creation time are random, and with them their hashes and signatures). Prints JSON.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

SETTINGS = """
[data]
spec = "world"
users = 40
negatives = 30
[model]
backbone = "{backbone}"
layers = 1
max_length = 12
lora_rank = 2
item_rank = 2
projection_rank = 4
[train]
max_windows = 2
[federation]
rounds = {rounds}
cohort = 12
evaluate_every = 1
[privacy]
unit = "{unit}"
trust = "{trust}"
[engine]
engine = "{engine}"
[sweep]
epsilons = [1.0, 8.0, inf]
seeds = {seeds}
[references]
centralized_epochs = 1
local_steps = 1
"""
# Differ between any two runs.
RANDOM = {"seconds", "environment", "head", "ledger_head", "seal", "signature"}
RANDOM |= {"valid_from", "valid_until", "salt", "digest"}  # the digest is under the salt
COMMAND = str(Path(sys.executable).with_name("starling"))


@dataclass
class Sweep:
    """How to start one small sweep."""

    settings: Path
    engine: str
    words: tuple[str, ...] = field(default=())

    def start(self, folder: Path) -> subprocess.Popen[str]:
        """Start or, where something is there already, continue."""
        begin = ("--config", str(self.settings), "--out", str(folder))
        again = ("--resume", str(folder))
        place = again if (folder / "config.toml").is_file() else begin
        return subprocess.Popen(
            [COMMAND, "simulate", *place, "--quiet", *self.words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            preexec_fn=_heed,
        )

    def finish(self, folder: Path) -> float:
        """Run to the end; seconds that it took."""
        started = time.monotonic()
        process = self.start(folder)
        _, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{folder}: exit code {process.returncode}: {errors}")
        return time.monotonic() - started


def _heed() -> None:
    """A job in the background of a shell is born deaf to Ctrl-C, and so are its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", action="store_true", help="a fresh sweep for every kill")
    parser.add_argument("--signal", choices=("KILL", "INT", "TERM"), default="KILL")
    parser.add_argument("--engine", default="cohort")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--unit", default="user")
    parser.add_argument("--trust", default="central")
    parser.add_argument("--backbone", default="minilm")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["STARLING_HOME"] = f"{temporary}/home"
        names = ("engine", "rounds", "backbone", "unit", "trust")
        sweep = prepare(Path(temporary), **{name: getattr(given, name) for name in names})
        report = measure(sweep, Path(temporary), given)
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    sys.exit(0 if report["identical"] else 1)


def prepare(folder: Path, seeds: tuple[int, ...] = (0, 1), **settings: str | int) -> Sweep:
    """Write the settings of a small sweep: `engine`, `rounds`, `backbone`, `unit`, `trust`."""
    file = folder / "settings.toml"
    file.write_text(SETTINGS.format(seeds=list(seeds), **settings))
    return Sweep(file, str(settings["engine"]))


def measure(sweep: Sweep, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """The uninterrupted sweep, the killed ones, and how they differ."""
    sweep.finish(folder / "first")  # fills the cache of item vectors
    seconds = sweep.finish(folder / "whole")
    by = signal.Signals[f"SIG{given.signal}"]
    delays = instants(seconds, given.kills, given.seed, stratified=given.each)
    if given.each:
        kills, differences, finished = each(sweep, folder, by, delays)
    else:
        kills, differences, finished = chain(sweep, folder, by, delays, given.kills)
    return {
        "command": " ".join(sys.argv),
        "engine": sweep.engine,
        "signal": given.signal,
        "seconds_uninterrupted": round(seconds, 2),
        "kills": sum(kill["at"] != "complete" for kill in kills),
        "sweeps_compared": finished,
        "in_progress": dict(collections.Counter(_kind(kill["at"]) for kill in kills)),
        "identical": not differences,
        "differences": differences,
        "instants": kills,
    }


def instants(seconds: float, kills: int, seed: int, *, stratified: bool) -> Iterator[float]:
    """Delays in seconds, uniform over the duration.

    Stratified: one in each of `kills` equal parts. Otherwise without end: a sweep that was faster
    than its instant was not killed, and another instant is drawn.
    """
    rng = random.Random(seed)
    for number in itertools.count():
        share = (number + rng.random()) / kills if stratified else rng.random()
        yield share * seconds
        if stratified and number + 1 == kills:
            return


def each(
    sweep: Sweep, folder: Path, by: signal.Signals, delays: Iterator[float]
) -> tuple[list[dict[str, Any]], list[str], int]:
    """Every instant: a fresh sweep, killed, resumed, compared."""
    kills, differences = [], []
    for number, delay in enumerate(delays):
        place = folder / f"run-{number}"
        kills.append(kill_after(sweep, place, by, delay))
        sweep.finish(place)
        differences += compare(place, folder / "whole")
    return kills, differences, len(kills)


def chain(
    sweep: Sweep, folder: Path, by: signal.Signals, delays: Iterator[float], wanted: int
) -> tuple[list[dict[str, Any]], list[str], int]:
    """One sweep, killed until it is complete, and then another, until all kills are used up."""
    kills: list[dict[str, Any]] = []
    differences: list[str] = []
    number = 0
    while len(kills) < wanted:
        kill = kill_after(sweep, folder / f"run-{number}", by, next(delays))
        if kill["at"] != "complete":
            kills.append(kill)
            continue
        differences += compare(folder / f"run-{number}", folder / "whole")
        number += 1
    sweep.finish(folder / f"run-{number}")
    differences += compare(folder / f"run-{number}", folder / "whole")
    return kills, differences, number + 1


def kill_after(sweep: Sweep, folder: Path, by: signal.Signals, delay: float) -> dict[str, Any]:
    """Start or continue, send the signal after a delay in seconds, and say what was going on."""
    resumed = (folder / "config.toml").is_file()
    began = time.time()
    process = sweep.start(folder)
    try:
        _, errors = process.communicate(timeout=delay)
    except subprocess.TimeoutExpired:
        process.send_signal(by)
        _, errors = process.communicate()
    found = {"after": round(delay, 3), "resumed": resumed, "exit": process.returncode}
    if by is not signal.SIGKILL:
        found["said"] = errors.strip()
    return found | {"at": progress(folder, began, ended=process.returncode == 0)}


def progress(folder: Path, began: float, ended: bool) -> str:
    """What a process that started at a time was doing, from what it left."""
    if ended:
        return "complete"
    file = folder / "results.json"
    if not file.is_file() or file.stat().st_mtime < began:
        return "imports and start-up"
    results = json.loads(file.read_text())
    parts = sorted(path.name for path in folder.rglob("*.part"))
    names = [f"{len(results['points'])} points"]
    checkpoints = sorted(folder.glob("points/*.checkpoint"), key=lambda f: f.stat().st_mtime)
    if results["complete"]:
        names.append("a complete sweep, drawn again" if not ended else "complete")
    elif len(results["points"]) == len(list(folder.glob("ledger-*"))) == 6:
        names.append("figures and report")
    elif not checkpoints or checkpoints[-1].stat().st_mtime < began:
        names.append("references or a first round")
    elif (folder / "points" / f"{checkpoints[-1].stem}.sealed.json").is_file():
        names.append("between two points")
    else:
        names.append(f"{checkpoints[-1].stem} in training or evaluation")
    return ", ".join(names + [f"writing {name}" for name in parts])


def _kind(at: str) -> str:
    """What was going on, without numbers."""
    words = at.split(", ")
    return "training or evaluation" if "training" in at else words[min(1, len(words) - 1)]


def compare(folder: Path, whole: Path) -> list[str]:
    """Everything in which a sweep differs from the uninterrupted one, in words."""
    from shared.privacy.ledger.ledger import Ledger
    from simulations.verify.run import verify_run

    names = [_files(place) for place in (folder, whole)]
    found = [f"{folder.name}: {name}: in one only" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        one, other = folder / name, whole / name
        if name.endswith(".json"):
            same = _fixed(json.loads(one.read_text())) == _fixed(json.loads(other.read_text()))
        elif name.endswith(".jsonl"):
            ledgers = [Ledger.open(path) for path in (one, other)]
            headers = [replace(ledger.header, created="", identity="") for ledger in ledgers]
            same = ledgers[0].entries == ledgers[1].entries and headers[0] == headers[1]
        elif name.startswith("adapters/"):
            same = _adapter(one) == _adapter(other)
        elif name.endswith((".checkpoint", ".html", ".csv", ".parquet")):
            continue  # the hashes of the ledger, and seconds, are inside; tables `verify` compares
        else:
            same = one.read_bytes() == other.read_bytes()
        found += [] if same else [f"{folder.name}: {name}: differs"]
    return found if verify_run(folder).ok else [*found, f"{folder.name}: verify disagrees"]


def _adapter(file: Path) -> tuple[Any, dict[str, bytes]]:
    """What an adapter promises, and its tensors bit by bit."""
    from safetensors.numpy import load_file

    from shared.privacy.ledger.promise import read_promise

    return _fixed(read_promise(file)), {k: v.tobytes() for k, v in load_file(file).items()}


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _fixed(value: Any) -> Any:
    """The value without what differs between any two runs.

    Numbers to 12 digits: one accountant's Fourier transform is not the same to the last bit in
    every process. An adapter's tensors are compared bit by bit.
    """
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {key: _fixed(item) for key, item in value.items() if key not in RANDOM}
    return [_fixed(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
