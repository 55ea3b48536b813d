"""Whether bounds stay below theory, and planted mistakes are named, seed by seed.

    PYTHONPATH=. python benchmarks/audit_seeds.py [--seeds 20] [--planted 10]
        [--out benchmarks/results/audit_seeds.json]

Replays of a tiny federation: 500 people of `world` and 1,076 trained numbers, of which all people
or as many windows are canaries; and those of `tests/support/auditing`, in which mistakes are
planted one by one. Correct code is replayed too: there nothing may be flagged. Of 0 seeds what
stands in the file is kept. The tables of docs/audit-replay.md are printed.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machine import hardware, load, versions
from tables import table

from shared.config import at_epsilon
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from simulations.audit.bounds import bounds
from simulations.audit.checks.record import raw
from simulations.audit.findings import Finding
from simulations.audit.replay.replay import Replay
from simulations.engine.simulation import Simulation
from tests.support.auditing import planted
from tests.support.auditing.tried import (
    BUGS,
    CROWD,
    KINDS,
    OF_A_PERSON,
    named,
    settings,
    sharp,
)
from tests.support.tiny import save_tiny_bert

OFF = "noise off"
POINTS = (
    ("user", 8.0),
    (OFF, 2.0),
    ("example", 8.0),
    ("user", 4.0),
    ("user", 1.0),
    ("once", 8.0),
)
Figures = dict[str, Any]


def evidence(backbone: Path, seeds: int, keep: Callable[[list[Figures]], None]) -> None:
    """Of every point, view and kind of bound: the bounds of all seeds."""
    found: list[Figures] = []
    for kind, epsilon in POINTS:
        simulation = Simulation(sharp(backbone, "user" if kind == OFF else kind))
        of: dict[tuple[str, str], list[float]] = {}
        flagged = Counter[tuple[str, str]]()
        begun = time.process_time()
        for seed in range(seeds):
            replay = Replay(at_epsilon(simulation.config, epsilon, seed), simulation)
            for each in _found(replay, kind):
                about = each.threat_model, each.name
                of.setdefault(about, [])
                if "bound" in each.figures:
                    of[about].append(each.figures["bound"])
                flagged[about] += each.verdict == "violated"
        seconds = (time.process_time() - begun) / seeds
        for (view, name), values in of.items():
            found.append({"kind": kind, "epsilon": epsilon, "view": view, "bound": name})
            found[-1] |= {"values": values, "cpu seconds": seconds, "seeds": seeds}
            found[-1]["flagged"] = flagged[view, name]
        said(f"{kind}, epsilon {epsilon:g}: {seconds:.1f} s of processor time a run")
        keep(found)


def _found(replay: Replay, kind: str) -> list[Finding]:
    """What decides: bounds; and, where noise is off, what is no noise."""
    with pytest.MonkeyPatch.context() as patch:
        if kind == OFF:
            patch.setattr(GaussianMechanism, "standard_deviation", property(lambda self: 0.0))
        observed = replay.run(replay.canaries(CROWD))
    shown = [each for each in bounds(observed) if "bound" in each.figures]
    return [*shown, raw(observed)] if kind == OFF else shown


def mistakes(backbone: Path, seeds: int, keep: Callable[[list[Figures]], None]) -> None:
    """What the auditor calls each mistake, and correct code, by seed."""
    opened, found = dict[str, Simulation](), list[Figures]()

    def replay(kind: str, seed: int) -> Replay:
        kind = "" if kind == "neighbours" else kind
        if kind not in opened:
            opened[kind] = Simulation(settings(backbone, **OF_A_PERSON[kind]))
        return Replay(at_epsilon(opened[kind].config, 8.0, seed), opened[kind])

    for kind in KINDS:
        names = [named(replay(kind, seed), kind) for seed in range(1, seeds + 1)]
        found.append({"mistake": f"none ({kind or 'sampled'})", "name": None, "said": names})
        said(found[-1]["mistake"])
        keep(found)
    for bug, (kind, name) in BUGS.items():
        names = []
        for seed in range(1, seeds + 1):
            with pytest.MonkeyPatch.context() as patch:
                at = replay(kind, seed)
                bug(patch, at)
                names.append(named(at, kind))
            planted.forget()
        found.append({"mistake": bug.__name__, "name": name, "said": names})
        said(bug.__name__)
        keep(found)


def said(words: str) -> None:
    """Progress, aside from what is printed."""
    print(words, file=sys.stderr, flush=True)


def main() -> None:
    """Print the tables, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--planted", type=int, default=10)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    told: Figures = {"bounds": [], "mistakes": []}
    if given.out and given.out.exists():
        told |= json.loads(given.out.read_text())
    told |= {"hardware": hardware(), "versions": versions(), "load": load()}
    with tempfile.TemporaryDirectory() as folder:
        backbone = save_tiny_bert(Path(folder))
        for part, tried, seeds in (
            ("bounds", evidence, given.seeds),
            ("mistakes", mistakes, given.planted),
        ):

            def keep(found: list[Figures], part: str = part) -> None:
                told[part] = found
                if given.out:
                    given.out.write_text(json.dumps(told, indent=1) + "\n")

            if seeds:
                tried(backbone, seeds, keep)
    print(table("kind|epsilon|view|by|median|least to most|above theory|violated", rows(told)))
    lines = [
        [
            each["mistake"].replace("_", " "),
            each["name"] or "nothing",
            f"{each['said'].count(each['name'])} of {len(each['said'])}",
        ]
        for each in told["mistakes"]
    ]
    print("\n" + table("mistake|is called|in seeds", lines))


def rows(told: Figures) -> list[list[str]]:
    """Of bounds; of what is no bound the verdicts alone."""
    return [
        [
            each["kind"],
            f"{each['epsilon']:g}",
            each["view"],
            each["bound"],
            *_spread(each["values"], each["epsilon"]),
            f"{each['flagged']} of {each['seeds']}",
        ]
        for each in told["bounds"]
    ]


def _spread(values: list[float], epsilon: float) -> list[str]:
    if not values:
        return ["", "", ""]
    above = sum(of > epsilon for of in values)
    middle, ends = statistics.median(values), f"{min(values):.2f} to {max(values):.2f}"
    return [f"{middle:.2f}", ends, f"{above} of {len(values)}"]


if __name__ == "__main__":
    main()
