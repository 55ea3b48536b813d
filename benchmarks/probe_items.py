"""What one noised step of the items' own numbers can bring, and how much of it noise hides.

    python benchmarks/probe_items.py [--data SPEC] [--users N]

From the start of the default preset (public text, noised histogram) everybody's gradient of the
numbers A [items, r] in `scores = E g + A B' g + bias` is scaled to length 1 and summed, B' being
what the rule `principal` reads: one release, all of epsilon 8 but the histogram's share. The sum is
shown exact and noised, for several r; and the exact sum cut to its best directions, which nobody
has under privacy. A direction whose singular value lies below the largest of the noise's own cannot
be told from noise. By default on the first 943 users of MovieLens-1M, by validation. The step's
size is the best of five, chosen there too: figures are upper bounds of one step, not results.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from probe_core import Positions, positions, start
from torch import Tensor

from shared.metrics import ranking_metrics
from shared.model.core import components
from shared.privacy.accountant import calibrate
from simulations.engine import CohortEngine
from simulations.workbench import Workbench

RESULTS = Path(__file__).parent / "results" / "probe_items.json"
RANKS, BEST, NOISES = (4, 8, 16, 48), (2, 4, 8, 16), (0, 1, 2)
STEPS = (0.2, 0.4, 0.6, 0.8, 1.2)  # standard deviation of what is added to a score
METRICS = ("hr@10", "hr@10_se", "ndcg@10", "full_hr@10")
EPSILON, DELTA = 8.0, 1e-4


class Ranked:
    """Validation metrics of the start plus a correction A [items, r] of what B' reads."""

    def __init__(self, bench: Workbench, engine: CohortEngine, bias: Tensor) -> None:
        self._bench, self._engine, self._bias = bench, engine, bias

    def __call__(self, correction: Tensor, reads: Tensor) -> dict[str, float]:
        """The best step's metrics; `reads` is B' [r, hidden]."""
        if not correction.any():
            return self._of(correction, reads)
        states = torch.cat(self._states())
        spread = float((states @ reads.T @ correction.T).std())
        found = [self._of(correction * (step / spread), reads) for step in STEPS]
        return max(found, key=lambda metrics: metrics["hr@10"] + metrics["ndcg@10"])

    def _states(self) -> list[Tensor]:
        found: list[Tensor] = []

        def keep(windows: Tensor, last: Tensor) -> Tensor:
            found.append(self._engine.recommender.hidden(windows)[torch.arange(len(windows)), last])
            return found[-1] @ self._engine.recommender.items.T

        self._engine.ranks(self._bench.users[:128], keep, "validation", self._bench.config)
        return found

    def _of(self, correction: Tensor, reads: Tensor) -> dict[str, float]:
        model = self._engine.recommender

        def score(windows: Tensor, last: Tensor) -> Tensor:
            state = model.hidden(windows)[torch.arange(len(windows)), last]
            return state @ model.items.T + self._bias + state @ reads.T @ correction.T

        ranks = self._engine.ranks(self._bench.users, score, "validation", self._bench.config)
        found = ranking_metrics(*ranks)
        return {name: round(float(found[name]), 4) for name in METRICS}


def summed(seen: Positions, items: Tensor, bias: Tensor, reads: Tensor) -> Tensor:
    """Everybody's gradient of A at A = 0, each of length 1: [items, r]."""
    total = torch.zeros(len(items), len(reads))
    for user in range(seen.users):
        mine = seen.owner == user
        real = seen.targets[mine] >= 0
        states, targets = seen.states[mine][real], seen.targets[mine][real]
        if not len(targets):
            continue
        error = -torch.softmax(states @ items.T + bias, -1)
        error[torch.arange(len(targets)), targets] += 1
        gradient = error.T @ (states @ reads.T)
        total += gradient / gradient.norm().clamp(min=1e-12)
    return total


def main() -> None:
    """Print and keep one row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="movielens-1m")
    parser.add_argument("--users", type=int, default=943)
    chosen = parser.parse_args()
    with torch.no_grad():
        bench, engine, bias = start(chosen.data, chosen.users)
        rows = measured(bench, engine, bias)
    settings = {"data": chosen.data, "users": chosen.users, "epsilon": EPSILON, "delta": DELTA}
    RESULTS.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")


def measured(bench: Workbench, engine: CohortEngine, bias: Tensor) -> list[dict[str, object]]:
    """The start; exact and noised sums by rank; the best directions of the largest."""
    z = calibrate(EPSILON, DELTA, 1, 1.0, histogram_share=0.1).noise_multiplier
    items, ranked = engine.recommender.items, Ranked(bench, engine, bias)
    seen = positions(bench, engine, bench.config)
    rows: list[dict[str, object]] = []

    def tell(what: str, rank: int, found: dict[str, float], **more: object) -> None:
        rows.append({"what": what, "rank": rank, **found, **more})
        print(rows[-1], flush=True)

    tell("start", 0, ranked(torch.zeros(len(items), 1), components(items, 1)))
    for rank in RANKS:
        reads = components(items, rank)
        total = summed(seen, items, bias, reads)
        ratio = float(total.norm()) / (z * total.numel() ** 0.5)
        tell("exact", rank, ranked(total, reads), signal_to_noise=round(ratio, 3))
        noised = [ranked(total + z * noise(seed, total), reads) for seed in NOISES]
        mean = {name: round(float(np.mean([n[name] for n in noised])), 4) for name in METRICS}
        tell("noised", rank, mean, seeds=list(NOISES))
    u, s, vt = torch.linalg.svd(total, full_matrices=False)
    largest = float(np.mean([z * torch.linalg.matrix_norm(noise(k, total), 2) for k in NOISES]))
    for rank in BEST:
        best = (u[:, :rank] * s[:rank]) @ vt[:rank]
        values = {
            "singular_value": round(float(s[rank - 1]), 1),
            "noises_largest": round(largest, 1),
        }
        tell(f"exact, best directions of {RANKS[-1]}", rank, ranked(best, reads), **values)
    return rows


def noise(seed: int, like: Tensor) -> Tensor:
    """Standard normal numbers of that shape."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


if __name__ == "__main__":
    main()
