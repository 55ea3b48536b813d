"""Every aggregation rule on the same people: accuracy with and without noise, and bytes uploaded.

    python benchmarks/rules.py [--data SPEC] [--preset NAME] [--rules fedit,ffa,...]
                               [--epsilons 8,inf] [--seeds 0,1,2] [--set section.name=value ...]

All rules run under the preset's settings; what a rule needs of its own stands in OWN below and in
the results. Two rows are FedIT again: `naive` without any of the preset's [private] settings, so
with model, optimiser, rounds and sampling of the points without noise; `fedit-items` with an
item correction of the rank that `principal` has. Every point is kept under `--out` and is not
computed twice. Against FedIT of the same budget and seeds stands the difference in HR@10 with a
paired bootstrap interval over people and seeds. Writes `benchmarks/results/rules_SPEC.json`.

Choosing settings by looking at private data is a release: choose on other people's data.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from shared.aggregation import RULES, rule_of
from shared.aggregation.ranks import narrowed
from shared.config import ExperimentConfig, at_epsilon, from_dict, load_toml, settings_hash
from shared.config.presets import preset_file
from shared.files import write_atomically
from shared.model.adapter import AdapterSchema
from shared.run_files import point_name, run_files
from simulations.sweep.machines import Machines
from simulations.sweep.point import run_point

# A core of the rank of a pair would be a handful of numbers: one of four (8) times the rank still
# uploads less than the pair.
OWN: dict[str, dict[str, Any]] = {
    "fedsb": {"model.lora_rank": 32, "private.model.lora_rank": 16},
    "principal": {"private.model.item_rank": 16, "private.federation.server_lr": 3.0},
    "fedit-items": {"private.model.item_rank": 16, "private.federation.server_lr": 3.0},
}
VARIANTS = {"naive": "fedit", "fedit-items": "fedit"}  # rows of their own, and what rule they are
NAMES = tuple(dict.fromkeys(("fedit", *VARIANTS, *RULES)))
METRICS = ("hr@10", "hr@10_se", "ndcg@10", "ndcg@10_se", "full_hr@10", "full_ndcg@10")
ROUNDS = ("federation.rounds", "private.federation.rounds")
RESAMPLES, INTERVAL = 4000, (2.5, 97.5)
RESULTS = Path(__file__).parent / "results"


def settings_of(rule: str, options: argparse.Namespace) -> ExperimentConfig:
    """The preset's settings with a rule, what the rule needs of its own, and what was asked for."""
    tree = load_toml(preset_file(options.preset))
    tree["data"] = {"spec": options.data} | ({"users": options.users} if options.users else {})
    changes: dict[str, Any] = {"federation.aggregation": VARIANTS.get(rule, rule)}
    changes |= OWN.get(rule, {}) | dict(map(_change, options.set))
    if options.rounds:
        changes |= dict.fromkeys(ROUNDS, options.rounds)
    for key, value in changes.items():
        *sections, name = key.split(".")
        part = tree
        for section in sections:
            part = part.setdefault(section, {})
        part[name] = value
    if rule == "naive":
        tree.pop("private", None)
    return from_dict(tree, source=f"rule {rule}")


def own_settings(rule: str, options: argparse.Namespace) -> dict[str, Any]:
    """What sets a row's settings apart from those of all others, as they were run."""
    asked = dict(map(_change, options.set))
    apart = {name: asked.get(name, value) for name, value in OWN.get(rule, {}).items()}
    return apart | ({"private": "none, of --set neither"} if rule == "naive" else {})


def _change(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    return key, tomllib.loads(f"value = {value}")["value"]


def measure(bench: Machines, point: ExperimentConfig, folder: Path) -> dict[str, Any]:
    """One point, run or read: metrics, bytes, and whose held-out item was among the first ten."""
    folder = folder / f"{point.federation.aggregation}-{settings_hash(point)[:12]}"
    name = point_name(point.privacy.epsilon, point.seed)
    file = folder / "points" / f"{name}.hits.json"
    found = dict(run_point(bench, point, folder, lambda entry: None).stated)
    if not file.exists():
        engine = bench.engine(point.model)
        adapter = engine.schema.from_arrays(load_file(folder / found["adapter"]))
        own = engine.personal(point, point.federation.rounds, run_files(folder, name).devices)
        sampled, _ = engine.evaluate(bench.evaluated, adapter, "test", point, own)
        write_atomically(file, json.dumps([int(rank < 10) for rank in sampled]))
    return found | {
        "hits": json.loads(file.read_text()),
        "upload_bytes": upload_bytes(bench.engine(point.model).schema, point),
    }


def upload_bytes(schema: AdapterSchema, point: ExperimentConfig) -> float:
    """Of one update, mean over rounds and ranks; the histogram at the start is not among it."""
    rule, rounds = rule_of(point), range(1, point.federation.rounds + 1)
    parts = [schema.subset(rule.trained(schema.names, t)) for t in rounds]
    if rule.ranks:
        parts = [narrowed(part, rank) for part in parts for rank in rule.ranks]
    return float(np.mean([4 * part.dim for part in parts]))


def difference(ours: list[list[int]], theirs: list[list[int]], seed: int = 0) -> dict[str, Any]:
    """Mean of ours minus theirs, [seeds][people] each, and its 95 % bootstrap interval.

    People and seeds are drawn again with replacement, the same for both: paired.
    """
    apart = np.array(ours, dtype=np.float64) - np.array(theirs)  # [seeds, people]
    rng = np.random.default_rng(seed)
    seeds, people = apart.shape
    means = [
        apart[rng.integers(seeds, size=seeds)][:, rng.integers(people, size=people)].mean()
        for _ in range(RESAMPLES)
    ]
    return {"hr@10": float(apart.mean()), "interval": np.percentile(means, INTERVAL).tolist()}


def row_of(
    rule: str, epsilon: float, found: list[dict[str, Any]], own: dict[str, Any]
) -> dict[str, Any]:
    """What the results hold of a rule at a budget, over seeds."""
    metrics = {m: float(np.mean([point["metrics"][m] for point in found])) for m in METRICS}
    bytes_up, bytes_down = (
        float(np.mean([point["communication_bytes"][way] for point in found]))
        for way in ("up", "down")
    )
    return {
        "rule": rule,
        "own_settings": own,
        "epsilon_target": "inf" if np.isinf(epsilon) else epsilon,
        "epsilon": "inf" if np.isinf(epsilon) else max(point["epsilon"] for point in found),
        "noise_multiplier": found[0]["noise_multiplier"],
        "seeds": [point["seed"] for point in found],
        "hr@10 by seed": [point["metrics"]["hr@10"] for point in found],
        "trained_parameters": found[0]["trained_parameters"],
        "rounds": found[0]["rounds"],
        "bytes_up": bytes_up,
        "bytes_down": bytes_down,
        "upload_bytes": found[0]["upload_bytes"],
        "seconds": float(np.mean([point["seconds"] for point in found])),
        **metrics,
    }


def line_of(row: dict[str, Any]) -> str:
    """A row in print."""
    text = (
        f"{row['rule']:12} epsilon {row['epsilon_target']!s:4} seeds {len(row['seeds'])}  "
        f"HR@10 {row['hr@10']:.3f}  NDCG@10 {row['ndcg@10']:.3f}  "
        f"full {row['full_hr@10']:.3f}/{row['full_ndcg@10']:.3f}  "
        f"up {row['bytes_up'] / 2**20:8.1f} MiB ({row['upload_bytes'] / 1024:.1f} KiB an update)"
    )
    if (versus := row.get("versus_fedit")) is not None:
        low, high = versus["interval"]
        text += f"  - FedIT {versus['hr@10']:+.3f} [{low:+.3f}, {high:+.3f}]"
    return text


def main() -> None:
    """Run every rule at every budget with every seed."""
    options = _options()
    logging.getLogger("flwr").setLevel(logging.WARNING)
    experiments = {rule: settings_of(rule, options) for rule in options.rules.split(",")}
    epsilons = [float(text) for text in options.epsilons.split(",")]
    seeds = [int(text) for text in options.seeds.split(",")]
    name = Path(options.data).name.replace("movielens-", "ml").replace("-", "")
    file = options.results or RESULTS / f"rules_{name}.json"
    rows: list[dict[str, Any]] = []
    with Machines(next(iter(experiments.values()))) as bench:
        for epsilon in epsilons:
            hits: dict[str, list[list[int]]] = {}
            for rule, config in experiments.items():
                if rule in VARIANTS and math.isinf(epsilon):
                    continue  # they differ from FedIT in the private settings alone
                points = [at_epsilon(config, epsilon, seed) for seed in seeds]
                found = [measure(bench, _identified(bench, p), options.out) for p in points]
                hits[rule] = [point["hits"] for point in found]
                rows.append(row_of(rule, epsilon, found, own_settings(rule, options)))
                if rule != "fedit" and "fedit" in hits:
                    rows[-1]["versus_fedit"] = difference(hits[rule], hits["fedit"])
                print(line_of(rows[-1]), flush=True)
                page = _page(options, kept(file, _page(options, rows)))
                write_atomically(file, json.dumps(page, indent=1) + "\n")


def _identified(bench: Machines, point: ExperimentConfig) -> ExperimentConfig:
    """With the digests of items and weights."""
    opened = bench.config
    model = {"backbone_sha256": opened.model.backbone_sha256}
    data = {"catalogue": opened.data.catalogue}
    return _replaced(_replaced(point, "model", model), "data", data)


def _replaced(point: ExperimentConfig, section: str, values: dict[str, Any]) -> ExperimentConfig:
    part = dataclasses.replace(getattr(point, section), **values)
    return dataclasses.replace(point, **{section: part})


def kept(file: Path, page: dict[str, Any]) -> list[dict[str, Any]]:
    """The page's rows, and those that an earlier run under the same settings left of others."""
    found = json.loads(file.read_text()) if file.exists() else {}
    earlier = found["rows"] if found.get("settings") == page["settings"] else []
    new = {_key(row) for row in page["rows"]}
    rows = [row for row in earlier if _key(row) not in new] + page["rows"]
    return sorted(rows, key=lambda row: (float(row["epsilon_target"]), NAMES.index(row["rule"])))


def _key(row: dict[str, Any]) -> tuple[str, float]:
    return row["rule"], float(row["epsilon_target"])


def _page(options: argparse.Namespace, rows: list[dict[str, Any]]) -> dict[str, Any]:
    told = ("data", "preset", "users", "rounds", "set")
    return {"settings": {name: getattr(options, name) for name in told}, "rows": rows}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="movielens-100k")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--users", type=int)
    parser.add_argument("--rules", default=",".join(RULES), help=", ".join(NAMES))
    parser.add_argument("--epsilons", default="8,inf")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.NAME=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs") / "rules")
    parser.add_argument("--results", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
