"""Do adversarial item vectors, robust losses or ensembles help where logs are noisy or poisoned?

    python benchmarks/robust.py [--seeds 0,1] [--users 120] [--out FILE]

A surrogate of the product's model without the language model, trained in one place and without
privacy on the synthetic world: with h the decayed mean of a history's text vectors,

    score(i) = 10 h . e_i + (h B) W (e_i B) + p . q_i + b_i,    p the mean of the history's own p_j

plain cross-entropy against
  fgm         item vectors (e, p, q) moved against the loss by a length, and learned from as well
              (FGM: Miyato et al. 2017; APR: He et al. 2018)
  gce         (1 - chance^q) / q in the place of -log chance (Zhang and Sabuncu 2018)
  smoothed    a share of every target spread over all items
  ensemble    three plain models, scores added with weights that validation chooses
on the log as it is, with a fifth of the training targets replaced by random items, and with a tenth
more people who met one unpopular item last, again and again. Strengths and the step are chosen by
validation items; test items of everyone are then ranked among all, paired with plain over people.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # found without being installed

from shared.config import ModelConfig  # noqa: E402 (needs the path above)
from shared.data.split import held_out, training_history  # noqa: E402 (needs the path above)
from shared.metrics import discounted_gains, hits  # noqa: E402 (needs the path above)
from shared.model.sources.choice import find, vectors_of  # noqa: E402 (needs the path above)
from simulations.world.world import World  # noqa: E402 (needs the path above)

Loss = Callable[[Tensor, Tensor], Tensor]
DECAY, BASIS, RANK, STEPS, EVERY, RATE = 0.85, 64, 16, 60, 10, 0.03
CONDITIONS = ("clean", "noisy", "poisoned")
STRENGTHS = {"fgm": (0.1, 0.5), "gce": (0.3, 0.7), "smoothed": (0.1, 0.3)}
MEMBERS = 3
GRID = (0.0, 0.5, 1.0)  # of a member's weight


@dataclass(frozen=True)
class Cases:
    """Histories and what followed them: weights [n, items] that average a history, targets [n]."""

    contexts: Tensor
    targets: Tensor

    def seen(self, items: int) -> Tensor:
        """What is not ranked, bool [n, items]."""
        return self.contexts[:, :items] > 0


def averages(histories: list[np.ndarray], items: int) -> Tensor:
    """Decayed weights of each history, of sum 1 (0 for none), [n, items]."""
    found = np.zeros((len(histories), items), dtype=np.float32)
    for row, history in enumerate(histories):
        decayed = DECAY ** np.arange(len(history))[::-1]
        np.add.at(found[row], history, decayed / max(decayed.sum(), 1e-9))
    return torch.from_numpy(found)


def training(world: World, condition: str, rng: np.random.Generator) -> Cases:
    """Every target of everybody's training items, and what the condition does to them."""
    items = len(world.catalogue)
    contexts, targets = [], []
    histories = [training_history(world.history(user)) for user in range(len(world))]
    if condition == "poisoned":
        counts = np.bincount(np.concatenate(histories), minlength=items)
        pushed = int(counts.argsort()[items // 10])
        for _ in range(len(world) // 10):
            histories.append(np.append(rng.choice(items, 24, replace=False), [pushed] * 6))
    for history in histories:
        for place in range(1, len(history)):
            contexts.append(history[:place])
            targets.append(history[place])
    found = np.array(targets)
    if condition == "noisy":
        wrong = rng.random(len(found)) < 0.2
        found[wrong] = rng.integers(items, size=int(wrong.sum()))
    return Cases(averages(contexts, items), torch.from_numpy(found))


def held(world: World, phase: Any) -> Cases:
    """The held-out items of everybody who has them."""
    items = len(world.catalogue)
    cases = [held_out(world.history(user), phase, items) for user in range(len(world))]
    there = [case for case in cases if case is not None]
    targets = torch.tensor([case.target for case in there])
    return Cases(averages([case.context for case in there], items), targets)


class Model:
    """The surrogate; parameters by name."""

    def __init__(self, vectors: Tensor, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        items = len(vectors)
        self.basis = torch.linalg.svd(vectors, full_matrices=False).Vh[:BASIS].T
        self.own = {
            "e": vectors,
            "w": torch.zeros(BASIS, BASIS),
            "p": 0.05 * torch.randn(items, RANK, generator=generator),
            "q": 0.05 * torch.randn(items, RANK, generator=generator),
            "b": torch.zeros(items),
        }

    def scores(self, own: dict[str, Tensor], contexts: Tensor) -> Tensor:
        """[n, items]."""
        h = contexts @ own["e"]
        text = 10 * h @ own["e"].T + (h @ self.basis) @ own["w"] @ (own["e"] @ self.basis).T
        return text + (contexts @ own["p"]) @ own["q"].T + own["b"]


def cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """Plain."""
    return torch.nn.functional.cross_entropy(scores, targets)


def loss_of(way: str, strength: float) -> Loss:
    """The loss of a way of learning."""
    if way == "gce":

        def robust(scores: Tensor, targets: Tensor) -> Tensor:
            chances = scores.softmax(-1).gather(1, targets[:, None])[:, 0]
            return ((1 - chances.clamp(min=1e-9) ** strength) / strength).mean()

        return robust
    if way == "smoothed":
        return lambda s, t: torch.nn.functional.cross_entropy(s, t, label_smoothing=strength)
    return cross_entropy


def learned(
    model: Model, train: Cases, valid: Cases, way: str, strength: float
) -> tuple[float, dict[str, Tensor]]:
    """NDCG@10 of validation items at the best step, and the parameters there."""
    own = {name: value.clone().requires_grad_(name != "e") for name, value in model.own.items()}
    optimiser = torch.optim.Adam([v for v in own.values() if v.requires_grad], lr=RATE)
    loss, best = loss_of(way, strength), (-1.0, own)
    for step in range(1, STEPS + 1):
        optimiser.zero_grad()
        whole = loss(model.scores(own, train.contexts), train.targets)
        if way == "fgm":
            moved = {name: own[name].detach().requires_grad_(True) for name in ("e", "p", "q")}
            there = model.scores({**own, **moved}, train.contexts)
            slopes = torch.autograd.grad(cross_entropy(there, train.targets), list(moved.values()))
            away = {
                name: own[name] + strength * value.norm(dim=1).mean() * _unit(slope)
                for (name, value), slope in zip(moved.items(), slopes, strict=True)
            }
            whole = whole + loss(model.scores({**own, **away}, train.contexts), train.targets)
        whole.backward()
        optimiser.step()
        if step % EVERY == 0:
            with torch.no_grad():
                found = ranks(model.scores(own, valid.contexts), valid)
            if (score := float(discounted_gains(found).mean())) > best[0]:
                best = score, {name: value.detach().clone() for name, value in own.items()}
    return best


def _unit(slope: Tensor) -> Tensor:
    return (slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-12)).detach()


def ranks(scores: Tensor, cases: Cases) -> np.ndarray:
    """Of the targets among all items that were not met, 0-based; ties count against them."""
    own = scores.gather(1, cases.targets[:, None])
    open_items = ~cases.seen(scores.shape[1])
    above = ((scores >= own) & open_items).sum(1) - 1
    return above.clamp(min=0).numpy()


def tried(world: World, vectors: Tensor, condition: str, seed: int) -> dict[str, np.ndarray]:
    """By way of learning, everybody's test rank."""
    rng = np.random.default_rng((seed, CONDITIONS.index(condition)))
    train, valid, test = (
        training(world, condition, rng),
        held(world, "validation"),
        held(world, "test"),
    )
    members = []
    for member in range(MEMBERS):
        model = Model(vectors, 100 * seed + member)
        members.append((model, learned(model, train, valid, "plain", 0)[1]))
    first = members[0][0]
    found: dict[str, Any] = {}
    with torch.no_grad():
        found["plain"] = ranks(first.scores(members[0][1], test.contexts), test)
        on = {
            name: torch.stack([m.scores(own, cases.contexts).log_softmax(-1) for m, own in members])
            for name, cases in (("valid", valid), ("test", test))
        }
        mixes = [torch.tensor(mix) for mix in itertools.product(GRID, repeat=MEMBERS) if any(mix)]
        best = max(
            mixes,
            key=lambda mix: float(
                discounted_gains(ranks(torch.einsum("m,mni->ni", mix, on["valid"]), valid)).mean()
            ),
        )
        found["ensemble"] = ranks(torch.einsum("m,mni->ni", best, on["test"]), test)
    for way, strengths in STRENGTHS.items():
        model = Model(vectors, 100 * seed)
        made = [learned(model, train, valid, way, strength) for strength in strengths]
        own = max(made, key=lambda one: float(one[0]))[1]
        with torch.no_grad():
            found[way] = ranks(model.scores(own, test.contexts), test)
    return found


def main() -> None:
    """Measure all and keep it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--users", type=int, default=120)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/robust.json")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for condition in CONDITIONS:
        by_seed = []
        for seed in map(int, options.seeds.split(",")):
            world = World(users=options.users, seed=seed)
            config = ModelConfig()
            vectors = vectors_of(world.catalogue, find(config), config)[:, :384]
            by_seed.append(tried(world, torch.from_numpy(vectors), condition, seed))
        found[condition] = {}
        for way in by_seed[0]:
            row: dict[str, Any] = {}
            for name, metric in (("hr@10", hits), ("ndcg@10", discounted_gains)):
                mine = np.concatenate([metric(each[way]) for each in by_seed])
                gain = mine - np.concatenate([metric(each["plain"]) for each in by_seed])
                half = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
                row[name] = float(mine.mean())
                row[f"{name}_gain"] = [float(gain.mean() + s * half) for s in (0, -1, 1)]
            found[condition][way] = row
            told = ", ".join(f"{value:+.4f}" for value in row["ndcg@10_gain"])
            print(f"{condition}, {way}: NDCG@10 {row['ndcg@10']:.4f} ({told})", flush=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
