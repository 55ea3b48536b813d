"""Does correcting for exposure help where the truth is known?

    python benchmarks/causal.py [--parts coat,effects,trained] [--runs FOLDER]
                                [--corrections none,ips,snips] [--out FILE]

coat      Ratings that people chose to give, learned from naively, weighted and doubly robustly
          under each model of propensities, five seeds, tried on random ones (`starling ratings`).
effects   What showing an item does, from the log of a world's policy, against what the world knows,
          beside plain click rates and counts of clicks; five worlds of two kinds.
trained   `train.correction` unset, ips and snips: `starling simulate` on the deep world of 400
          people, three seeds, at epsilon 8; then the chance that people click what is recommended
          first, once they look at it, which the world knows. Paired over people.

Runs lie under `--runs` and are not made twice. A part that is not named stays in the results.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # found without being installed

Floats = NDArray[np.float64]
SEEDS = (0, 1, 2, 3, 4)
PEOPLE, TRAINED_ON, TOP = 200, 400, 5
BOUND = 10.0
# As the preset has it, and one whose policy shows the popular above all, at places that count more.
WORLDS = {"deep": {}, "biased": {"temperature": 1.0, "exploration": 0.1, "position_bias": 1.0}}
# Of the preset, so that nine runs are a matter of minutes: the language model is read, not adapted.
SMALLER = {
    "lora_rank = 4": "lora_rank = 0",
    "lora_rank = 1": "lora_rank = 0",
    "rounds = 24": "rounds = 12",
    "evaluate_every = 8": "evaluate_every = 4",
}
CORRECTIONS = ("none", "ips", "snips")


def coat() -> dict[str, Any]:
    """By propensities and way of learning."""
    from simulations.causal import PROPENSITIES, compared, open_ratings

    ratings, found = open_ratings("coat"), dict[str, Any]()
    for kind in PROPENSITIES:
        found[kind] = {n: asdict(f) for n, f in compared(ratings, kind, BOUND, SEEDS).items()}
        told = ", ".join(
            f"{name} MSE {one['mse']:.4f} NDCG {one['ndcg']:.4f}"
            for name, one in found[kind].items()
        )
        print(f"coat, {kind}: {told}", flush=True)
    return found


def effects() -> dict[str, Any]:
    """By kind of world: means over seeds, and each seed's."""
    from scipy.stats import spearmanr

    from simulations.offpolicy import item_effects, read_feedback
    from simulations.world.files import write_world

    found: dict[str, Any] = {}
    for kind in WORLDS:
        rows = []
        for seed in SEEDS:
            world = made(kind, seed)
            with tempfile.TemporaryDirectory() as folder:
                log = read_feedback(write_world(world, Path(folder)))
            known, estimated = truth(world), item_effects(log)
            clicks = np.bincount(log.items, log.rewards, len(known))
            ways = {
                "effects": estimated.effects,
                "click rates": np.nan_to_num(estimated.rates),
                "clicks": clicks,
            }
            best = np.sort(known)[::-1][:20].mean()
            row: dict[str, Any] = {
                name: {
                    "spearman": float(spearmanr(each, known)[0]),
                    "top_20": float(known[np.argsort(-each)[:20]].mean() / best),
                    "rmse": float(np.sqrt(np.mean((each - known) ** 2))),
                }
                for name, each in ways.items()
            }
            within = (estimated.low <= known) & (known <= estimated.high)
            row |= {"seed": seed, "covered": float(within.mean())}
            row["looked_at"] = estimated.looked_at.tolist()
            rows.append(row)
        found[kind] = rows
        for name in ways:
            mean = {m: np.mean([row[name][m] for row in rows]) for m in rows[0][name]}
            print(f"effects, {kind}, {name}: " + ", ".join(f"{m} {v:.3f}" for m, v in mean.items()))
    return found


def made(kind: str, seed: int, people: int = PEOPLE) -> Any:
    """A world of slates."""
    from shared.config.presets import chosen_settings
    from simulations.world.sources import open_world

    settings = chosen_settings(None, "world-deep")
    data = replace(settings.data, users=people, world_seed=seed)
    return open_world(data, replace(settings.world, **WORLDS[kind]))


def truth(world: Any) -> Floats:
    """Chance of a click on each item that is looked at, over all slates in which it was open."""
    top, count = np.zeros(len(world.catalogue)), np.zeros(len(world.catalogue))
    for user in range(len(world)):
        shown, clicked = world.slates(user), list[int]()
        for step, items in enumerate(shown.items):
            time, scenario = int(shown.times[step]), int(shown.scenarios[step])
            wanted = world.attractions(user, np.array(clicked, dtype=np.int64), time, scenario)
            there = world.arrivals <= time
            there[clicked] = False
            top[there] += wanted[there]
            count[there] += 1
            clicked += items[shown.clicks[step]].tolist()
    return np.asarray(top / np.maximum(count, 1))


def trained(runs: Path, corrections: list[str]) -> dict[str, Any]:
    """By correction and point: what is recommended is worth; and its gain over no correction."""
    world = made("deep", 0, TRAINED_ON)
    found: dict[str, Any] = {}
    for correction in corrections:
        folder = run_of(correction, runs)
        for file in sorted((folder / "adapters").glob("eps-8-*.safetensors")):
            epsilon = file.stem.split("-seed-")[0]
            each = found.setdefault(epsilon, {}).setdefault(correction, [])
            each.append(worth(file, world))
    return {epsilon: summed(ways) for epsilon, ways in found.items()}


def run_of(correction: str, runs: Path) -> Path:
    """The folder of a run, made if it is not there."""
    folder = runs / correction
    if (folder / "results.json").exists():
        return folder
    text = (ROOT / "shared/config/presets/world-deep.toml").read_text(encoding="utf-8")
    for before, after in SMALLER.items():
        text = text.replace(before, after)
    if correction != "none":
        text = text.replace("[train]\n", f'[train]\ncorrection = "{correction}"\n')
    runs.mkdir(parents=True, exist_ok=True)
    settings = runs / f"{correction}.toml"
    settings.write_text(text, encoding="utf-8")
    words = ["simulate", "--config", str(settings), "--users", str(TRAINED_ON), "--epsilon"]
    words += ["8", "--seeds", "0,1,2", "--references", "none", "--out", str(folder), "--quiet"]
    subprocess.run([sys.executable, str(ROOT / "starling.py"), *words], check=True)
    return folder


def worth(adapter: Path, world: Any) -> tuple[Floats, Floats]:
    """Of everyone: mean attraction of the items recommended first, and rank correlation with it."""
    import torch
    from scipy.stats import rankdata

    from client.serving.adapters import open_adapter
    from simulations.engine.ranking import LastScores, padded
    from simulations.world.people import YEAR

    model = open_adapter(adapter, world)
    first, alike = np.empty(len(world)), np.empty(len(world))
    for user in range(len(world)):
        history = world.history(user)
        windows, last = padded([history], model.config.model.max_length, torch.device("cpu"))
        with torch.no_grad():
            scores = LastScores(model.recommender)(windows, last)[0].double().numpy()
        wanted = world.attractions(user, history, YEAR - 1, 0)
        left = np.ones(len(scores), dtype=bool)
        left[history] = False
        scores, wanted = scores[left], wanted[left]
        first[user] = wanted[np.argsort(-scores, kind="stable")[:TOP]].mean()
        alike[user] = np.corrcoef(rankdata(scores), rankdata(wanted))[0, 1]
    return first, alike


def summed(ways: Mapping[str, list[tuple[Floats, Floats]]]) -> dict[str, Any]:
    """Means over people and seeds, and paired gains with 95% intervals over people."""
    found: dict[str, Any] = {}
    plain = np.mean(ways["none"], axis=0)  # [2, people]
    for name, seeds in ways.items():
        mine = np.mean(seeds, axis=0)
        row: dict[str, Any] = {}
        for place, metric in enumerate(("clicked", "spearman")):
            gain = mine[place] - plain[place]
            half = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
            row[metric] = float(mine[place].mean())
            row[f"{metric}_gain"] = [float(gain.mean() + s * half) for s in (0, -1, 1)]
            row[f"{metric}_of_seeds"] = [float(seed[place].mean()) for seed in seeds]
        found[name] = row
        print(f"trained, {name}: {row}", flush=True)
    return found


def main() -> None:
    """Measure what was asked for and keep it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default="coat,effects,trained")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "causal")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/causal.json")
    parser.add_argument("--corrections", default=",".join(CORRECTIONS))
    options = parser.parse_args()
    named = options.corrections.split(",")
    parts = {"coat": coat, "effects": effects, "trained": lambda: trained(options.runs, named)}
    kept = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    for name in options.parts.split(","):
        kept[name] = parts[name]()
        options.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
