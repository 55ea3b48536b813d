"""Theory and evidence over epsilon for each threat model, on MovieLens-100K: a table, a picture.

    STARLING_DATA=FOLDER PYTHONPATH=. python benchmarks/audit_evidence.py
        [--out benchmarks/results/audit_evidence.json] [--picture docs/pictures/audit.png]

Of every epsilon two replays under the settings of `--preset demo`, seed 0, as `starling audit`
makes them: one whose canaries send the worst there is, one whose canaries have odd histories. What
is kept continues: an epsilon that stands in the file is not replayed again.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from machine import hardware, load, versions
from tables import table

from shared.config import at_epsilon, load_toml
from shared.config.presets import override, preset_file
from simulations.audit.bounds import ANY, FITTED, GAUSSIAN, bounds
from simulations.audit.outcome import Audit, Part
from simulations.audit.replay.replay import Replay
from simulations.audit.report.figure import evidence_figure
from simulations.audit.run import Depth
from simulations.audit.threats import BLACK_BOX
from simulations.engine.simulation import Simulation

EPSILONS = (1.0, 2.0, 4.0, 8.0)
Figures = dict[str, Any]


def part(simulation: Simulation, epsilon: float) -> Part:
    """What two replays of a point show."""
    replay = Replay(at_epsilon(simulation.config, epsilon, 0), simulation)
    most = min(Depth().canaries, len(simulation.population) // 2)
    found = []
    for natural in (False, True):
        shown = bounds(replay.run(replay.canaries(most, natural)))
        found += [each for each in shown if (each.threat_model == BLACK_BOX) == natural]
    return Part(f"epsilon {epsilon:g}", "", {"epsilon": epsilon}, tuple(found))


def rows(parts: list[Part]) -> list[list[str]]:
    """Who sees, and of every epsilon: any mechanism, Gaussian, estimate."""
    views = list(dict.fromkeys(each.threat_model for part in parts for each in part.findings))
    return [[view, *(_three(part, view) for part in parts)] for view in views]


def _three(part: Part, view: str) -> str:
    of = {each.name: each for each in part.findings if each.threat_model == view}
    told = ((ANY, "bound"), (GAUSSIAN, "bound"), (FITTED, "estimate"))
    shown = [
        f"{of[name].figures[figure]:.2f}" if figure in of[name].figures else "-"
        for name, figure in told
        if name in of
    ]
    return ", ".join(shown) if len(shown) == len(told) else "not released"


def main() -> None:
    """Replay, write, draw, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/audit_evidence.json"))
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    logging.disable(logging.INFO)
    told: Figures = json.loads(given.out.read_text()) if given.out.exists() else {"points": {}}
    told |= {"hardware": hardware(), "versions": versions(), "load": load()}
    demo = load_toml(preset_file("demo"))
    simulation = Simulation(override(demo, {"data.spec": "movielens-100k"}, preset=True))
    for epsilon in EPSILONS:
        if f"{epsilon:g}" not in told["points"]:
            begun = time.process_time()
            stated = part(simulation, epsilon).stated()
            told["points"][f"{epsilon:g}"] = stated | {"cpu seconds": time.process_time() - begun}
            given.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
            print(f"{time.strftime('%H:%M:%S')} epsilon {epsilon:g}", file=sys.stderr, flush=True)
    parts = []
    for epsilon in sorted(EPSILONS):
        stated = dict(told["points"][f"{epsilon:g}"])
        stated.pop("cpu seconds")
        parts.append(Part.of(stated))
    drawn = evidence_figure(Audit({}, {}, tuple(parts)))
    if given.picture and drawn:
        drawn.savefig(given.picture, dpi=110)
    print(table("who sees|" + "|".join(part.name for part in parts), rows(parts)))


if __name__ == "__main__":
    main()
