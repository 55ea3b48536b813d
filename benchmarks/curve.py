"""The curve of what is released once: today's defaults beside those of before, paired over people.

    python benchmarks/curve.py [--data SPEC] [--delta D] [--epsilons 1,2,8] [--seeds 0,1,2]
                               [--out DIR]

Points of the default preset without rounds, by the real path: devices, ledger, test items. `before`
are the same with moments from n mu = 1,000 on alone, at .40 of the budget, weighing half as much;
where neither has moments nothing is compared. Every point is kept under `--out` and is not computed
twice. Writes after every point, and prints, `benchmarks/results/curve_SPEC.json`.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shared.config import ExperimentConfig, at_epsilon, from_dict, load_toml, settings_hash
from shared.config.presets import preset_file
from shared.privacy.plan.split import RICH, SOME, one_release
from simulations.compare import Difference, pairs_of
from simulations.results import Point
from simulations.sweep.machines import Machines
from simulations.sweep.point import run_point

RESULTS = Path(__file__).parent / "results"
METRICS = ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10")
VARIANTS = ("now", "before")


def settings(options: argparse.Namespace, variant: str, epsilon: float, users: int) -> Any:
    """The preset's settings without rounds; of before, with the shares that it had."""
    tree = load_toml(preset_file("default"))
    tree["data"] = {"spec": options.data}
    tree["federation"]["rounds"] = tree["private"]["federation"]["rounds"] = 0
    tree["privacy"]["delta"] = options.delta
    if variant == "before":
        rich = np.isinf(epsilon) or users * one_release(epsilon, options.delta) >= RICH
        tree["private"]["model"].pop("moments_scale")
        tree["privacy"]["moments_share"] = 0.4 if rich else 0.0
    return from_dict(tree, source=variant)


def told(of: list[Point], users: int) -> dict[str, Any]:
    """Means over seeds, and how far apart seeds are."""
    each = {name: [point.metrics[name] for point in of] for name in METRICS}
    found: dict[str, Any] = {"seeds": [point.stated["seed"] for point in of], "users": users}
    found |= {name: round(float(np.mean(values)), 4) for name, values in each.items()}
    return found | {"each": {n: [round(v, 4) for v in values] for n, values in each.items()}}


def apart(now: list[Point], before: list[Point], users: int) -> dict[str, Any]:
    """Now minus before over the seeds that both have, person by person."""
    pairs: list[dict[str, Any]] = [
        pairs_of(a, {"before": b})["before"] for a, b in zip(now, before, strict=False)
    ]
    found = {}
    for name in METRICS if pairs else ():
        moments = [(float(pair[name]["difference"]), float(pair[name]["se"])) for pair in pairs]
        found[name] = Difference.over(moments, users).stated()
    return found


def main() -> None:
    """Run what is not there, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="movielens-100k")
    parser.add_argument("--delta", type=float, default=1e-4)
    parser.add_argument("--epsilons", default="1,2,8")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("runs/curve"))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    epsilons = [float(each) for each in options.epsilons.split(",")]
    bench = Machines(settings(options, "now", 8.0, 1))
    users, done = len(bench.users), dict[tuple[float, str], list[Point]]()
    for seed in map(int, options.seeds.split(",")):
        for epsilon in epsilons:
            told_from_noise = users * one_release(epsilon, options.delta)
            for variant in VARIANTS if told_from_noise >= SOME else VARIANTS[:1]:
                config = settings(options, variant, epsilon, users)
                point = at_epsilon(config, epsilon, seed)
                done.setdefault((epsilon, variant), []).append(_point(bench, point, options.out))
                _keep(options, done, users)
                shown = told(done[epsilon, variant], users)
                print(epsilon, variant, *list(shown.values())[:6], flush=True)


def _point(bench: Machines, point: ExperimentConfig, out: Path) -> Point:
    opened = bench.config  # with the digests of items and weights
    data = replace(point.data, catalogue=opened.data.catalogue)
    model = replace(point.model, backbone_sha256=opened.model.backbone_sha256)
    point = replace(point, data=data, model=model)
    return run_point(bench, point, out / settings_hash(point)[:12], lambda entry: None)


def _keep(options: argparse.Namespace, done: dict[Any, list[Point]], users: int) -> None:
    rows = []
    for (epsilon, variant), points in done.items():
        row = {"epsilon": epsilon, "settings": variant} | told(points, users)
        if variant == "before":
            row["now_minus_before"] = apart(done[epsilon, "now"], points, users)
        rows.append(row)
    found = {"data": options.data, "delta": options.delta, "rounds": 0, "rows": rows}
    file = RESULTS / f"curve_{options.data}.json"
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
