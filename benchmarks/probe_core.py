"""How rank, rounds and step size of the private core trade signal for noise: a fast surrogate.

    python benchmarks/probe_core.py [--data SPEC] [--users N]

Trains the core alone (frozen language model, fixed popularity bias), one clipped gradient per user
and round, momentum on the server, noise as epsilon 8 at delta 1e-4 asks of so many rounds. It keeps
the states of all positions in memory, so a configuration takes seconds, and its winners were then
tried with the real thing (`benchmarks/tune_private.py`). By default on 943 users of
MovieLens-1M, by validation: other people than those of MovieLens-100K. Clips at the median norm,
which a private run may not look at: the surrogate shows where to search, not what to report.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from client.training.batches import user_windows
from shared.config import ExperimentConfig, ModelConfig, from_dict, load_toml
from shared.config.presets import preset_file
from shared.data.population import history_of
from shared.data.split import training_history
from shared.metrics import ranking_metrics
from shared.privacy.accounting.accountant import Side, calibrate
from shared.privacy.contribution.histogram import popularity_bias
from shared.privacy.guarantee import USER_CENTRAL, Guarantee
from simulations.engine.cohort import CohortEngine
from simulations.engine.simulation import Simulation

RESULTS = Path(__file__).parent / "results" / "probe_core.json"
# rank of the core, rounds, step size, whether the step size decays linearly
GRID = [
    (32, 16, 0.1, True),
    (32, 16, 0.2, True),
    (32, 16, 0.4, True),
    (16, 16, 0.2, True),
    (64, 16, 0.2, True),
    (32, 8, 0.2, False),
]


@dataclass
class Positions:
    """All training positions: states [windows, length, hidden], targets, whose they are."""

    states: Tensor
    targets: Tensor
    owner: Tensor
    users: int


def positions(bench: Simulation, engine: CohortEngine, config: ExperimentConfig) -> Positions:
    """The untrained model's states at every training position."""
    cuts = [user_windows(history_of(bench.population, user), config) for user in bench.users]
    inputs = torch.from_numpy(np.concatenate([cut.inputs for cut in cuts]))
    targets = torch.from_numpy(np.concatenate([cut.targets for cut in cuts]))
    owner = torch.repeat_interleave(torch.arange(len(cuts)), torch.tensor([len(c) for c in cuts]))
    with torch.no_grad():
        wide = torch.cat([engine.recommender.hidden(part) for part in inputs.split(64)])
        states = wide[..., : engine.recommender.items.shape[1]]  # of the text
    return Positions(states, targets, owner, len(cuts))


def train(
    seen: Positions, items: Tensor, bias: Tensor, basis: Tensor, z: float, plan: tuple[int, ...]
) -> tuple[Tensor, list[float], float]:
    """Noised momentum on the core; the mean of the last quarter of iterates, signal/noise, clip."""
    rounds, rate, decays = plan
    k = basis.shape[1]
    core, momentum, kept = torch.zeros(k, k), torch.zeros(k, k), []
    generator, ratios = torch.Generator().manual_seed(0), []
    for step in range(rounds):
        gradients = _user_gradients(seen, items, bias, basis, core)
        norms = gradients.flatten(1).norm(dim=1)
        clip = norms.median()
        total = (gradients * (clip / norms.clamp(min=1e-9)).clamp(max=1)[:, None, None]).sum(0)
        noise = z * clip * torch.randn(k, k, generator=generator)
        ratios.append(float(total.norm() / noise.norm()))
        momentum = 0.9 * momentum + (total + noise) / (clip * seen.users)
        core = core + rate * (1 - step / rounds if decays else 1) * momentum
        if step >= rounds * 0.75:
            kept.append(core)
    return torch.stack(kept).mean(0), ratios, float(clip)


def _user_gradients(
    seen: Positions, items: Tensor, bias: Tensor, basis: Tensor, core: Tensor
) -> Tensor:
    low = items @ basis  # [items, k]
    gradients = torch.zeros(seen.users, *core.shape)
    counts = torch.zeros(seen.users).index_add(0, seen.owner, (seen.targets >= 0).sum(1).float())
    parts = zip(seen.states.split(64), seen.targets.split(64), seen.owner.split(64), strict=True)
    for states, targets, owner in parts:
        x = states @ basis
        chance = torch.softmax(states @ items.T + (x @ core) @ low.T + bias, -1)
        error = (low[targets.clamp(min=0)] - chance @ low) * (targets >= 0)[..., None]
        error = error / counts[owner][:, None, None]
        gradients.index_add_(0, owner, torch.einsum("wli,wlj->wij", x, error))
    return gradients


def start(spec: str, users: int) -> tuple[Simulation, CohortEngine, Tensor]:
    """The frozen model of the default preset, and the bias [items] of a noised histogram."""
    tree = load_toml(preset_file("default")) | {"data": {"spec": spec, "users": users}}
    bench = Simulation(from_dict(tree))
    model = replace(ModelConfig(), lora_rank=0, projection_rank=0, layers=bench.config.model.layers)
    engine = bench.engine(model)
    counts = np.zeros(len(engine.recommender.items))
    for user in bench.users:
        mine = training_history(history_of(bench.population, user))
        counts[mine] += max(len(mine), 1) ** -0.5
    noised = counts + 1.5 * np.random.default_rng(0).normal(size=len(counts))
    return bench, engine, torch.from_numpy(popularity_bias(noised, 1.5, 1.0)).float()


def main() -> None:
    """Try the grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="movielens-1m")
    parser.add_argument("--users", type=int, default=943)
    chosen = parser.parse_args()
    bench, engine, bias = start(chosen.data, chosen.users)
    items = engine.recommender.items
    seen = positions(bench, engine, bench.config)
    directions = torch.linalg.svd(items, full_matrices=False).Vh.T
    promised = Guarantee("user", "zero_out", "central", USER_CENTRAL, 1e-4, 1, 8.0)
    rows = []
    for k, rounds, rate, decays in GRID:
        z = calibrate(promised, rounds, 1.0, (Side(0.1),)).noise_multiplier
        basis = directions[:, :k].contiguous()
        core, ratios, clip = train(seen, items, bias, basis, z, (rounds, rate, decays))

        def score(
            windows: Tensor, last: Tensor, basis: Tensor = basis, core: Tensor = core
        ) -> Tensor:
            wide = engine.recommender.hidden(windows)[torch.arange(len(windows)), last]
            state = wide[:, : items.shape[1]]
            return (state + (state @ basis) @ core @ basis.T) @ items.T + bias

        with torch.no_grad():
            found = ranking_metrics(*engine.ranks(bench.users, score, "validation", bench.config))
        row = {"core": k, "rounds": rounds, "rate": rate, "decays": decays, "z": round(z, 3)}
        row |= {key: round(found[key], 4) for key in ("hr@10", "hr@10_se", "ndcg@10")}
        row |= {"signal_to_noise": round(ratios[0], 2), "median_norm": round(clip, 3)}
        rows.append(row)
        print(row, flush=True)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({"settings": vars(chosen), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
