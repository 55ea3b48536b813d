"""Correlated noise against Poisson-sampled and un-amplified Gaussian noise at the same epsilon.

    python benchmarks/dp_ftrl.py [--data SPEC] [--users N] [--epsilons 8,2] [--seeds 0,1,2]
                                 [--only METHOD] [--preset NAME] [--rounds R] [--separation S]
                                 [--server-lr RATE] [--noise-only]

Every point is a whole run with ledger and accountant, from one preset; what differs is in
`METHODS`, and with it against whom epsilon holds. Prints one line per method and epsilon, and
beside the accuracy the noise on the released average of iterates, per coordinate, in clips, as the
accounting and the server's linear steps give it; `--noise-only` computes just that, for 16 to 64
rounds and a separation of 4 to 16. Writes `benchmarks/results/dp_ftrl_DATA.json`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shared.config import ExperimentConfig, at_epsilon, from_dict, load_toml
from shared.config.presets import preset_file
from shared.privacy.mechanisms.correlated import CorrelatedMechanism
from shared.privacy.mechanisms.toeplitz import banded_square_root, server_workload
from shared.privacy.plan.plan import server_plan
from simulations.sweep.machines import Machines
from simulations.sweep.point import run_point

RESULTS = Path(__file__).parent / "results"
KNOWS = "knows who took part in which round"
SECRET = "must not learn who was sampled"

Change = dict[str, dict[str, Any]]


def poisson(separation: int) -> Change:
    """As many people a round, drawn independently: amplified."""
    federation = {"cohort": 1 / separation}
    return {"privacy": {"mechanism": "gaussian", "min_separation": 1}, "federation": federation}


# name -> (the adversary, what it changes in the preset's settings of noised points)
METHODS: dict[str, tuple[str, Callable[[int], Change]]] = {
    "DP-FTRL": (KNOWS, lambda separation: {}),
    "Gaussian, not amplified": (KNOWS, lambda separation: {"privacy": {"bands": 1}}),
    "Gaussian, Poisson-sampled": (SECRET, poisson),
    "Gaussian, everyone every round": (KNOWS, lambda separation: poisson(1)),
}


def settings(base: dict[str, Any], change: Change) -> dict[str, Any]:
    """The preset with one method's changes to its private settings."""
    tree: dict[str, Any] = json.loads(json.dumps(base))
    for section, values in change.items():
        part = tree if section == "privacy" else tree["private"]
        part.setdefault(section, {}).update(values)
    return tree


def noise(config: ExperimentConfig, users: int) -> float:
    """Standard deviation, in clips, of the noise on the released average of iterates.

    For a server with momentum; its steps are linear in the rounds' sums.
    """
    federation, plan = config.federation, server_plan(config, users)
    if plan is None or federation.server_optimizer != "fedavgm":
        return math.nan
    rounds = federation.rounds
    decay = 1 - np.arange(rounds) / rounds if federation.lr_decay == "linear" else np.ones(rounds)
    workload = server_workload(federation.server_lr * decay, federation.beta_1)
    last = max(1, math.ceil(federation.average_last * rounds))
    released = workload[-last:].mean(axis=0, keepdims=True)  # [1, rounds]
    mechanism = plan.planned("update").mechanism
    if isinstance(mechanism, CorrelatedMechanism):
        matrix, scale = mechanism.matrix, mechanism.noise_multiplier * mechanism.sensitivity
    else:
        matrix, scale = banded_square_root(rounds, 1), mechanism.noise_multiplier
    return float(scale * matrix.errors(released)[0] / federation.expected_cohort(users))


def run(base: dict[str, Any], method: str, separation: int, epsilon: float, seed: int) -> Any:
    """One point: what the table and the record keep of it."""
    adversary, change = METHODS[method]
    tree = settings(base, change(separation))
    bench = Machines(from_dict(tree))
    config = at_epsilon(bench.config, epsilon, seed)
    with tempfile.TemporaryDirectory() as folder:
        point = run_point(bench, config, Path(folder), lambda entry: None).stated
    return {
        "method": method,
        "adversary": adversary,
        "epsilon": point["epsilon"],
        "delta": point["delta"],
        "epsilon_target": epsilon,
        "seed": seed,
        "cohort": point["cohort"],
        "rounds": point["rounds"],
        "noise_multiplier": point["noise_multiplier"],
        "noise_of_release": noise(config, len(bench.population)),
        "correlation": point["correlation"],
        "validation": point["validation"],
        "metrics": point["metrics"],
    }


def line(row: dict[str, Any]) -> str:
    """One row of the printed table."""
    both = [
        f"{phase} HR@10 {row[name]['hr@10']:.3f} NDCG@10 {row[name]['ndcg@10']:.3f}"
        for phase, name in (("validation", "validation"), ("test", "metrics"))
    ]
    return (
        f"epsilon {row['epsilon_target']:g} seed {row['seed']} {row['method']:31} "
        f"noise {row['noise_of_release']:.4f}  {'  '.join(both)}  (adversary {row['adversary']})"
    )


def noise_table(base: dict[str, Any], epsilons: list[float], users: int) -> None:
    """The noise of every method, without a run."""
    for separation, rounds in itertools.product((4, 8, 16), (16, 32, 64)):
        base["privacy"]["min_separation"] = separation
        base["private"]["federation"] |= {"cohort": 1 / separation, "rounds": rounds}
        for epsilon in epsilons:
            found = []
            for name, (_, change) in METHODS.items():
                config = at_epsilon(from_dict(settings(base, change(separation))), epsilon, 0)
                found.append(f"{name} {noise(config, users):.4f}")
            print(f"epsilon {epsilon:g}, {rounds} rounds, 1 in {separation}: {', '.join(found)}")


def main() -> None:
    """Run every method at every epsilon and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="world")
    parser.add_argument("--preset", default="dp_ftrl")
    parser.add_argument("--users", type=int)
    parser.add_argument("--epsilons", default="8,2")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", action="append", default=[], choices=list(METHODS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--separation", type=int)
    parser.add_argument("--server-lr", type=float)
    parser.add_argument("--noise-only", action="store_true")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    base = load_toml(preset_file(chosen.preset))
    base["privacy"]["mechanism"] = "dp_ftrl"
    base["data"] = {"spec": chosen.data} | ({"users": chosen.users} if chosen.users else {})
    given = {"rounds": chosen.rounds, "server_lr": chosen.server_lr}
    base["private"]["federation"] |= {k: v for k, v in given.items() if v is not None}
    separation = chosen.separation or base["privacy"].get("min_separation", 4)
    base["privacy"]["min_separation"] = separation
    base["private"]["federation"]["cohort"] = 1 / separation
    base["sweep"] = {"epsilons": [float(e) for e in chosen.epsilons.split(",")]}
    if chosen.noise_only:
        noise_table(base, base["sweep"]["epsilons"], chosen.users or 943)
        return
    logging.getLogger("flwr").setLevel(logging.WARNING)
    rows = []
    file = chosen.out or RESULTS / f"dp_ftrl_{Path(chosen.data).stem}.json"
    for epsilon in base["sweep"]["epsilons"]:
        for seed in map(int, chosen.seeds.split(",")):
            for method in chosen.only or METHODS:
                rows.append(run(base, method, separation, epsilon, seed))
                print(line(rows[-1]), flush=True)
                kept = {
                    k: v for k, v in vars(chosen).items() if k not in ("out", "only", "noise_only")
                }
                record = {"settings": kept | {"preset": base}, "rows": rows}
                file.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
