"""Compare settings for noised points on other people's data than they are then used on.

    python benchmarks/tune_private.py [--preset default|local] [--data SPEC] [--users N]
                                      [--epsilon E] [--only NAME]

Choosing settings by looking at private data is itself a release. So the committed presets' settings
of noised points were chosen here: on the first 943 users of MovieLens-1M, by validation, never on
MovieLens-100K. Prints one line per candidate; writes `benchmarks/results/tune_PRESET.json`.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from shared.config import ExperimentConfig, at_epsilon, from_dict, load_toml
from shared.config.presets import preset_file
from simulations.sweep.machines import Machines
from simulations.sweep.point import run_point

Candidates = dict[str, dict[str, dict[str, Any]]]

# name -> what it changes in the [private] sections, and in [privacy], of a preset
USER_CENTRAL: Candidates = {
    "preset": {},
    "histogram and public text only": {"federation": {"rounds": 1, "server_lr": 1e-9}},
    "server_lr 0.1": {"federation": {"server_lr": 0.1}},
    "8 rounds, core 16, server_lr 0.1 constant": {
        "model": {"projection_rank": 16},
        "federation": {"rounds": 8, "server_lr": 0.1, "lr_decay": "constant", "average_last": 0.5},
    },
    "LoRA 8, no core": {"model": {"lora_rank": 8, "projection_rank": 0}},
    "no affinities": {"model": {"affinity_scale": 0.0, "hidden_scale": 0.5}},
    "without LoRA": {"model": {"lora_rank": 0}},
}
_START = {"federation": {"rounds": 1, "server_lr": 1e-9}}


def first(**change: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Changes to the first draft: half the budget for the histogram, a core of 16."""
    draft = {"privacy": {"histogram_share": 0.5}, "model": {"projection_rank": 16}}
    return {part: draft.get(part, {}) | change.get(part, {}) for part in draft | change}


EXAMPLE_LOCAL: Candidates = {
    "preset": {},
    "server_lr 0.3": {"federation": {"server_lr": 0.3}},
    "first draft": first(),
    "public text only": first(federation={**_START["federation"], "popularity_start": False}),
    "histogram and public text, all for it": first(**_START, privacy={"histogram_share": 0.99}),
    "first draft, LoRA and step as the default preset": first(
        model={"lora_rank": 2, "projection_rank": 32}
    ),
    "first draft, core 32": first(model={"projection_rank": 32}),
    "first draft, core 8": first(model={"projection_rank": 8}),
    "first draft, no histogram": first(federation={"popularity_start": False}),
    "first draft, server_lr 0.1": first(federation={"server_lr": 0.1}),
    "first draft, server_lr 1": first(federation={"server_lr": 1.0}),
    "first draft, 2 rounds": first(federation={"rounds": 2}),
    "first draft, clip 0.2": first(privacy={"example_clipping_norm": 0.2}),
    "first draft, windows of 25": first(model={"max_length": 25}, train={"max_windows": 8}),
}
CANDIDATES = {"default": USER_CENTRAL, "local": EXAMPLE_LOCAL}
RESULTS = Path(__file__).parent / "results"


def candidate(base: dict[str, Any], change: dict[str, dict[str, Any]]) -> ExperimentConfig:
    """The default preset with one candidate's changes to its private settings."""
    tree = json.loads(json.dumps(base))
    for section, settings in change.items():
        part = tree if section == "privacy" else tree["private"]
        part.setdefault(section, {}).update(settings)
    return from_dict(tree, source="candidate")


def main() -> None:
    """Run every candidate once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=list(CANDIDATES), default="default")
    parser.add_argument("--data", default="movielens-1m")
    parser.add_argument("--users", type=int, default=943)
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[])
    chosen = parser.parse_args()
    base = load_toml(preset_file(chosen.preset))
    base["data"] = {"spec": chosen.data, "users": chosen.users}
    base["sweep"] = {"epsilons": [chosen.epsilon]}
    bench = Machines(from_dict(base))
    logging.getLogger("flwr").setLevel(logging.WARNING)
    rows = []
    candidates = CANDIDATES[chosen.preset]
    settings = {k: v for k, v in vars(chosen).items() if k != "only"}
    for name in chosen.only or candidates:
        config = at_epsilon(candidate(base, candidates[name]), chosen.epsilon, chosen.seed)
        with tempfile.TemporaryDirectory() as folder:
            point = run_point(bench, config, Path(folder), lambda entry: None).stated
        found = point["validation"]
        rows.append(
            {"name": name, "epsilon": point["epsilon"], "dim": point["trained_parameters"]}
            | {key: found[key] for key in ("hr@10", "hr@10_se", "ndcg@10", "full_hr@10")}
        )
        print(
            f"{name:40} dim {point['trained_parameters']:6}  validation HR@10 "
            f"{found['hr@10']:.3f} +- {found['hr@10_se']:.3f}  NDCG@10 {found['ndcg@10']:.3f}  "
            f"full HR@10 {found['full_hr@10']:.3f}",
            flush=True,
        )
        keep(RESULTS / f"tune_{chosen.preset}.json", settings, rows[-1])


def keep(file: Path, settings: dict[str, Any], row: dict[str, Any]) -> None:
    """Put a row among those of the same settings, in place of its namesake."""
    found = json.loads(file.read_text()) if file.exists() else {}
    others = found.get("rows", []) if found.get("settings") == settings else []
    rows = [other for other in others if other["name"] != row["name"]] + [row]
    file.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
