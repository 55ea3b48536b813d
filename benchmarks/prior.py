"""Learn what a run starts from on public people: `affinities.PRIOR` and `histogram.WEIGHTS`.

    python benchmarks/prior.py

One softmax over items whose scores are linear in public features: what each block of kernels takes
of a history (the mean over all of it, and what the means with decays .95, .85, .6 add), and two
terms of popularity. Histogram and moments are those that a run would have: noised for epsilon 8
with moments, and for epsilon 1 without, the positions of both together. Learned on the 610 people
of MovieLens-latest-small, from the last five of everyone's training items against 300 others.

Ranks validation items of 943 people of MovieLens-1M by what was learned and by what is committed
(rounded, from a draft), untrained and under the same noise. Prints both, changes neither; writes
`benchmarks/results/prior.json`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from server.release.moments import Moments, tables
from shared.config import DataConfig, ExperimentConfig, ModelConfig
from shared.data.population import history_of
from shared.data.split import training_history
from shared.metrics import hits, ranking_metrics, standard_error
from shared.model import affinities
from shared.model.adapter import current
from shared.model.affinities import MOMENTS, PRIOR, TEXT
from shared.privacy.contribution import histogram, moments
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.contribution.histogram import WEIGHTS
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.split import one_release
from simulations.engine.simulation import Simulation

RESULTS = Path(__file__).parent / "results" / "prior.json"
DELTA, SEED, MOMENTS_RANK = 1e-4, 1, 64
LEARNED_AT = ((8.0, 0.25, 0.75), (1.0, 0.95, 0.0))  # epsilon, shares of histogram and moments
SHOWN_AT = (*LEARNED_AT, (8.0, 0.95, 0.0))
LAST, NEGATIVES, RIDGE = 5, 300, 0.01
# Features times these are of like size, so that the ridge asks as much of all.
SIZES = {"categories": 2.5, "years": 2.5, "categories x years": 5.0}
NAMES = [name for name in PRIOR for _ in range(4)] + ["popularity"] * 2  # of features
METRICS = ("hr@10", "hr@10_se", "ndcg@10", "full_hr@10", "full_ndcg@10")

Weights = tuple[Mapping[str, Sequence[float]], Sequence[float]]  # as PRIOR and WEIGHTS


@dataclass(frozen=True)
class Known:
    """What a run knows of the items before any round.

    Attributes
    ----------
    blocks : dict of (In_B, Out_B), each Tensor [items, width]
    terms : Tensor [2, items]
        Of popularity.
    """

    blocks: dict[str, tuple[Tensor, Tensor]]
    terms: Tensor

    def features(self, history: Tensor, items: Tensor) -> Tensor:
        """Those that `PRIOR`, block by block, and then `WEIGHTS` weigh: [22, items asked]."""
        shares = _shares(len(history))
        found = [shares @ given[history] @ out[items].T for given, out in self.blocks.values()]
        return torch.cat([*found, self.terms[:, items]])


@functools.cache
def _shares(length: int) -> Tensor:
    """What counts of each place: all alike, then what ever later means add, [4, length]."""
    means = affinities.kernels(torch.eye(4), torch.ones(length))[:, -1].flip(0)  # 1, .95, .85, .6
    return torch.cat([means[:1], means.diff(dim=0)])


def public_blocks(table: Tensor, hidden: int) -> dict[str, tuple[Tensor, Tensor]]:
    """In and Out of a public table [items, hidden + 104], the text's in units of chance."""
    widths = affinities.block_widths(hidden, table.shape[1], 0)
    parts = dict(zip(widths, table.split(list(widths.values()), 1), strict=True))
    given = parts | {TEXT: parts[TEXT] / affinities.chance_likeness(parts[TEXT])}
    return {name: (given[name], part) for name, part in parts.items()}


class Log:
    """The people of a log, and what is released of them at a budget."""

    def __init__(self, spec: str, users: int | None = None) -> None:
        model = ModelConfig(lora_rank=0, moments_rank=MOMENTS_RANK)
        self.config = ExperimentConfig(data=DataConfig(spec=spec, users=users), model=model)
        self.bench = Simulation(self.config)
        self.engine = self.bench.engine(model)
        self.histories = [history_of(self.bench.population, user) for user in self.bench.users]

    def known(self, epsilon: float, counted: float, together: float) -> Known:
        """After a histogram, and moments if any, of those shares of a budget."""
        model, z = self.engine.recommender, 1 / one_release(epsilon, DELTA)
        blocks, items = public_blocks(model.table, model.items.shape[1]), len(model.table)
        shares = [histogram.user_histogram(mine, items) for mine in self.histories]
        noise = z / counted**0.5
        counts = _noised(shares, noise, histogram.HISTOGRAM_CLIP, "histogram")
        terms = torch.from_numpy(np.stack(histogram.popularity_terms(counts, noise))).float()
        pair = np.zeros((2, items, MOMENTS_RANK))
        if together:
            public = {name: out.numpy() for name, (_, out) in blocks.items()}
            basis = moments.moments_basis(counts, noise, public)
            shares = [moments.user_moments(mine, basis) for mine in self.histories]
            noise = z / together**0.5
            total = _noised(shares, noise, moments.MOMENTS_CLIP, "moments")
            pair = np.stack(tables(Moments(basis, total, noise), items, MOMENTS_RANK))
        given, out = torch.from_numpy(pair).float()
        return Known(blocks | {MOMENTS: (given, out)}, terms)

    def positions(self, known: Known) -> Tensor:
        """Features [positions, 22, 1 + NEGATIVES] of what was met, first, and of what was not."""
        rng, items, rows = np.random.default_rng(SEED), len(known.terms[0]), []
        for whole in self.histories:
            mine = training_history(whole)
            others = np.setdiff1d(np.arange(items), mine)
            for place in range(max(len(mine) // 2, len(mine) - LAST, 1), len(mine)):
                asked = np.append(mine[place], rng.choice(others, NEGATIVES))
                before = mine[max(place - self.config.model.max_length, 0) : place]
                rows.append(known.features(torch.tensor(before), torch.from_numpy(asked)))
        return torch.stack(rows)

    def ranks(self, known: Known, weights: Weights) -> tuple[list[int], list[int]]:
        """Validation ranks, sampled and full, of everybody under the untrained model."""
        engine, model = self.engine, self.engine.recommender
        adapter, (given, out) = current(model, engine.schema).clone(), known.blocks[MOMENTS]
        mix = affinities.initial_mix(list(known.blocks), model.items, weights[0])
        bias = torch.tensor(weights[1]) @ known.terms
        released = {"mix": mix, "moments_in": given, "moments_out": out, "item_bias": bias}
        for name, value in released.items():
            adapter[engine.schema.slice_of(f"{name}.weight")] = value.flatten()
        return engine.evaluate(self.bench.users, adapter, "validation", self.config)


def _noised(shares: Sequence[Any], noise: float, clip: L2Clip, what: str) -> Any:
    total, source = np.sum(shares, axis=0, dtype=float), NoiseSource.seeded(SEED, "prior", what)
    return GaussianMechanism(noise, clip).release(total, source)


def learn(features: Tensor, kept: Sequence[str] = tuple(NAMES)) -> Weights:
    """The likeliest weights of what was met, first of its row, under a ridge; 0 if not kept."""
    sizes = torch.tensor([SIZES.get(name, 1.0) * (name in kept) for name in NAMES])
    theta = torch.zeros(len(sizes), requires_grad=True)
    scaled = features * sizes[:, None]
    optimizer = torch.optim.LBFGS([theta], max_iter=80, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = torch.einsum("f,nfc->nc", theta, scaled)
        found = -torch.log_softmax(scores, 1)[:, 0].mean() + RIDGE * (theta**2).sum()
        found.backward()
        return found

    optimizer.step(loss)
    found = [round(float(weight), 2) for weight in theta.detach() * sizes]
    return {name: found[4 * i : 4 * i + 4] for i, name in enumerate(PRIOR)}, found[-2:]


def main() -> None:
    """Learn, show beside what is committed, compare."""
    torch.set_num_threads(1)
    log = Log("movielens-latest-small")
    features = torch.cat([log.positions(log.known(*budget)) for budget in LEARNED_AT])
    learned, committed = learn(features), (PRIOR, WEIGHTS)
    for name in PRIOR:
        print(f"{name:20}{learned[0][name]!s:30}committed {list(PRIOR[name])}")
    print(f"{'popularity':20}{learned[1]!s:30}committed {list(WEIGHTS)}", flush=True)
    compared = {"committed": committed, "learned": learned}
    compared["learned, text and popularity"] = learn(features, (TEXT, "popularity"))
    compared["learned, no moments"] = learn(features, [n for n in NAMES if n != MOMENTS])
    log, rows = Log("movielens-1m", 943), []
    for budget in SHOWN_AT:
        known, first = log.known(*budget), None
        for name, weights in compared.items():
            ranks = log.ranks(known, weights)
            first = hits(ranks[0]) if first is None else first
            apart, found = hits(ranks[0]) - first, ranking_metrics(*ranks)
            row = {"budget": budget, "weights": name} | {key: found[key] for key in METRICS}
            row |= {"above_committed": apart.mean(), "above_committed_se": standard_error(apart)}
            rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
            print(" ".join(f"{value}" for value in rows[-1].values()), flush=True)
    settings = {"delta": DELTA, "seed": SEED, "learned_at": LEARNED_AT}
    found = settings | {"weights": compared, "rows": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
