"""What one noised step of the items' own numbers can bring, and how much of it noise hides.

    python benchmarks/probe_items.py [--data SPEC] [--users N]

From the start of the default preset (public text, noised histogram) everybody's gradient of the
numbers A [items, r] in `scores = E g + A B' g + bias` is scaled to length 1 and summed, B' being
what the rule `principal` reads: one release, all of epsilon 8 but the histogram's share. The sum is
shown exact; noised; noised and its singular values shrunk as is best in squared error; and the
exact sum cut to its leading directions, which nobody has under privacy. Beside them stand its
singular values and z (items r)^(1/4), below which no trace of a direction is left in the noised
sum. By default on 943 users of MovieLens-1M, by validation. The step's size is the best
of five, chosen there too: these figures show what is possible, not results.

References
----------
Gavish, Donoho 2017, Optimal Shrinkage of Singular Values. https://arxiv.org/abs/1405.7511
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from probe_core import Positions, positions, start
from torch import Tensor

from shared.metrics import ranking_metrics
from shared.model.directions import components
from shared.privacy.accounting.accountant import Side, calibrate
from shared.privacy.guarantee import USER_CENTRAL, Guarantee
from simulations.engine.cohort import CohortEngine
from simulations.engine.simulation import Simulation

RESULTS = Path(__file__).parent / "results" / "probe_items.json"
RANKS, BEST, NOISES = (4, 8, 16, 48), (2, 4, 8, 16), (0, 1, 2)
STEPS = (0.2, 0.4, 0.6, 0.8, 1.2)  # standard deviation of what is added to a score
METRICS = ("hr@10", "hr@10_se", "ndcg@10", "full_hr@10")
EPSILON, DELTA = 8.0, 1e-4


class Ranked:
    """Validation metrics of the start plus a correction A [items, r] of what B' reads."""

    def __init__(self, bench: Simulation, engine: CohortEngine, bias: Tensor) -> None:
        self._bench, self._engine, self._bias = bench, engine, bias
        self._states: list[Tensor] = []  # of every batch of cases, in the order they are asked
        self._ranked(self._first)

    def __call__(self, correction: Tensor, reads: Tensor) -> dict[str, float]:
        """The best step's metrics; `reads` is B' [r, hidden]."""
        if not correction.any():
            return self._of(correction, reads)
        spread = float((torch.cat(self._states) @ reads.T @ correction.T).std())
        found = [self._of(correction * (step / spread), reads) for step in STEPS]
        return max(found, key=lambda metrics: metrics["hr@10"] + metrics["ndcg@10"])

    def _first(self, windows: Tensor, last: Tensor) -> Tensor:
        items = self._engine.recommender.items
        wide = self._engine.recommender.hidden(windows)[torch.arange(len(windows)), last]
        states = wide[:, : items.shape[1]]  # of the text
        self._states.append(states)
        return states @ items.T

    def _of(self, correction: Tensor, reads: Tensor) -> dict[str, float]:
        states, items = iter(self._states), self._engine.recommender.items

        def score(windows: Tensor, last: Tensor) -> Tensor:
            state = next(states)
            return state @ items.T + self._bias + state @ reads.T @ correction.T

        return self._ranked(score)

    def _ranked(self, score: Callable[[Tensor, Tensor], Tensor]) -> dict[str, float]:
        ranks = self._engine.ranks(self._bench.users, score, "validation", self._bench.config)
        found = ranking_metrics(*ranks)
        return {name: round(float(found[name]), 4) for name in METRICS}


def shrunk(noised: Tensor, z: float) -> Tensor:
    """What is nearest to the exact sum on average among all that keep the noised singular vectors.

    Parameters
    ----------
    noised : Tensor [n, r], n >= r
    z : float
        Standard deviation of the noise.
    """
    u, s, vt = torch.linalg.svd(noised, full_matrices=False)
    n, r = noised.shape
    beta, y = r / n, s / (z * n**0.5)
    inner = ((y**2 - beta - 1) ** 2 - 4 * beta).clamp(min=0).sqrt() / y
    kept = torch.where(y > 1 + beta**0.5, inner, 0) * (z * n**0.5)
    return (u * kept) @ vt


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


def measured(bench: Simulation, engine: CohortEngine, bias: Tensor) -> list[dict[str, object]]:
    """The start; exact, noised and shrunk sums by rank; leading directions of the largest."""
    promised = Guarantee("user", "zero_out", "central", USER_CENTRAL, DELTA, 1, EPSILON)
    z = calibrate(promised, 1, 1.0, (Side(0.1),)).noise_multiplier
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
        sums = [total + z * noise(seed, total) for seed in NOISES]
        for what, changed in (("noised", sums), ("noised, shrunk", [shrunk(x, z) for x in sums])):
            each = [ranked(x, reads) for x in changed]
            mean = {name: round(float(np.mean([e[name] for e in each])), 4) for name in METRICS}
            tell(what, rank, mean, seeds=list(NOISES))
    u, s, vt = torch.linalg.svd(total, full_matrices=False)
    values = {
        "singular_values": [round(float(value), 1) for value in s[: max(BEST)]],
        "detectable": round(z * (u.shape[0] * vt.shape[0]) ** 0.25, 1),
        "noises_largest": round(z * (u.shape[0] ** 0.5 + vt.shape[0] ** 0.5), 1),
    }
    rows.append({"what": f"exact sum of {RANKS[-1]}", **values})
    print(rows[-1], flush=True)
    for rank in BEST:
        best = (u[:, :rank] * s[:rank]) @ vt[:rank]
        tell(f"exact, leading directions of {RANKS[-1]}", rank, ranked(best, reads))
    return rows


def noise(seed: int, like: Tensor) -> Tensor:
    """Standard normal numbers of that shape."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


if __name__ == "__main__":
    main()
