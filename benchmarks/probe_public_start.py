"""Probe `model.summary_scale`, `summary_decay` and `hidden_scale` on the untrained recommender.

    python benchmarks/probe_public_start.py [--data SPEC] [--users N] [--seed S]

What the model ranks before any training: the history's public item text, raw and through the
frozen language model, on top of a noised popularity histogram. Choosing settings by looking at
private data is itself a release, so this is validation on 943 users of MovieLens-1M,
never on MovieLens-100K, which the committed settings are then used on. One histogram is drawn and
shared by all rows: they differ in their settings alone. The first row is that histogram by itself.

Prints one line per row; writes `benchmarks/results/probe_public_start.json`.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from shared.config import DataConfig, ExperimentConfig, ModelConfig
from shared.data.population import history_of
from shared.metrics import ranking_metrics
from shared.model.adapter import current
from shared.privacy.contribution.histogram import HISTOGRAM_CLIP, popularity_bias, user_histogram
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource
from simulations.engine.cohort import CohortEngine
from simulations.engine.simulation import Simulation

DECAYS = (0.7, 0.8, 0.9)
SUMMARY_SCALES = (0.0, 10.0, 20.0, 40.0)
HIDDEN_SCALES = (0.0, 0.2, 0.5)
BIAS = "item_bias.weight"
KEPT = ("hr@10", "hr@10_se", "ndcg@10", "ndcg@10_se", "full_hr@10", "full_ndcg@10")
RESULTS = Path(__file__).parent / "results" / "probe_public_start.json"

Bias = npt.NDArray[np.float64]  # [items]


def grid() -> list[dict[str, float]]:
    """Settings to try, the histogram by itself first."""
    rows = []
    for summary, hidden, decay in itertools.product(SUMMARY_SCALES, HIDDEN_SCALES, DECAYS):
        # Without a summary its decay changes nothing: one row stands for all.
        if summary or decay == DECAYS[0]:
            rows.append({"summary_scale": summary, "hidden_scale": hidden, "summary_decay": decay})
    return rows


def noised_bias(
    engine: CohortEngine, users: Sequence[int], noise_multiplier: float, seed: int
) -> Bias:
    """The item bias [items] that a run would start from, at a given noise."""
    items = len(engine.population.catalogue)
    total = sum(user_histogram(history_of(engine.population, user), items) for user in users)
    mechanism = GaussianMechanism(noise_multiplier, HISTOGRAM_CLIP)
    noised = mechanism.release(total, NoiseSource.seeded(seed, "probe_public_start"))
    return popularity_bias(noised, noise_multiplier, strength=1.0)


def untrained(engine: CohortEngine, bias: Bias) -> torch.Tensor:
    """The adapter [dim] before training, with that item bias."""
    adapter = current(engine.recommender, engine.schema).clone()
    adapter[engine.schema.slice_of(BIAS)] = torch.as_tensor(bias, dtype=adapter.dtype)
    return adapter


def main() -> None:
    """Evaluate every row once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="movielens-1m")
    parser.add_argument("--users", type=int, default=943)
    parser.add_argument("--noise-multiplier", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    base = ModelConfig(layers=2, lora_rank=0)
    config = ExperimentConfig(data=DataConfig(spec=chosen.data, users=chosen.users), model=base)
    bench = Simulation(config)
    engine = bench.engine(base)
    bias = noised_bias(engine, bench.users, chosen.noise_multiplier, chosen.seed)
    rows: list[dict[str, float]] = []
    RESULTS.parent.mkdir(exist_ok=True)
    for settings in grid():
        model = replace(base, **settings)
        found = evaluate(bench, replace(config, model=model), bias)
        rows.append(settings | {key: found[key] for key in KEPT})
        print(line(rows[-1]), flush=True)
    settings = vars(chosen) | {"layers": base.layers}
    RESULTS.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")


def evaluate(bench: Simulation, config: ExperimentConfig, bias: Bias) -> dict[str, float]:
    """Validation metrics of the untrained model under these settings."""
    engine = bench.engine(config.model)
    ranks = engine.evaluate(bench.users, untrained(engine, bias), "validation", config)
    return ranking_metrics(*ranks)


def line(row: dict[str, float]) -> str:
    """One row as text."""
    return (
        f"summary {row['summary_scale']:4g}  decay {row['summary_decay']:g}  "
        f"hidden {row['hidden_scale']:3g}  validation HR@10 {row['hr@10']:.3f} +- "
        f"{row['hr@10_se']:.3f}  NDCG@10 {row['ndcg@10']:.3f}  full HR@10 {row['full_hr@10']:.3f}"
    )


if __name__ == "__main__":
    main()
