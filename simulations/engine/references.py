"""Reference points of the curve: what no federation, no training or no privacy would give.

They count, train and rank over the users of `simulation.evaluated`: all of them, unless there are
more than `data.evaluated_users`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.training.batches import user_windows
from client.training.train import token_losses
from shared.config import ExperimentConfig
from shared.data.population import history_of
from shared.data.split import Phase, is_evaluated, training_history
from shared.metrics import ranking_metrics, selection_score
from shared.model.adapter import Part, current
from shared.request import Request
from simulations.engine.cohort import CohortEngine
from simulations.engine.simulation import Simulation

_SCORES = 4  # copies of the scores [length, items] of a window: forward, softmax and backward
_MEMORY_BUDGET = 512 * 2**20  # bytes for the scores of windows that are trained on at once

Advance = Callable[[int, str], None]  # client updates done, a remark
Findings = dict[str, Any]  # what `results.json` states of a reference, and everyone's `ranks`
_Ranks = tuple[list[int], list[int]]


def popularity(simulation: Simulation, config: ExperimentConfig, advance: Advance) -> Findings:
    """Rank by how many users trained on an item; no model, exact counts, not private."""
    engine = simulation.engine(config.model)
    counts = torch.zeros(len(simulation.population.catalogue))
    for user in simulation.evaluated:
        counts[torch.tensor(training_history(history_of(simulation.population, user)))] += 1

    def score(windows: Tensor, last: Tensor) -> Tensor:
        return counts.expand(len(windows), -1)

    return _both(engine, simulation, score, config)


def popularity_private(
    simulation: Simulation, config: ExperimentConfig, counts: npt.NDArray[np.float64]
) -> Findings:
    """Rank by a released histogram alone: anybody may, it is the release itself.

    Parameters
    ----------
    simulation : Simulation
    config : ExperimentConfig
        Of the point that released it.
    counts : float64 [items]
        With their noise.
    """
    engine = simulation.engine(config.model)
    scores = torch.from_numpy(counts)

    def score(windows: Tensor, last: Tensor) -> Tensor:
        return scores.expand(len(windows), -1)

    return _both(engine, simulation, score, config)


def own_start(
    simulation: Simulation, config: ExperimentConfig, adapter: npt.NDArray[np.float64]
) -> Findings:
    """Rank by a point's model as its first round found it: with its histogram, untrained.

    Parameters
    ----------
    simulation : Simulation
    config : ExperimentConfig
        Of the point.
    adapter : float64 [dim]
        See `server.release.popularity.first_iterate`.
    """
    engine = simulation.engine(config.model)
    start = torch.from_numpy(adapter).float()
    sampled, full = engine.evaluate(simulation.evaluated, start, "test", config)
    ranks = {"sampled": sampled, "full": full}
    return {"metrics": ranking_metrics(sampled, full), "ranks": ranks}


def zero_shot(simulation: Simulation, config: ExperimentConfig, advance: Advance) -> Findings:
    """The frozen model with its initial adapter: nothing was learned from anyone."""
    engine = simulation.engine(config.model)
    return _evaluate(engine, simulation, current(engine.recommender, engine.schema), config)


def local_only(simulation: Simulation, config: ExperimentConfig, advance: Advance) -> Findings:
    """Every user trains an adapter on their own history alone and is ranked with it."""
    engine = simulation.engine(config.model)
    settings = config.references
    alone = dataclasses.replace(
        config.train, local_steps=settings.local_steps, local_lr=settings.local_lr
    )
    config = dataclasses.replace(config, train=alone)
    initial, part = current(engine.recommender, engine.schema), engine.alone(config)
    population, items = engine.population, len(engine.population.catalogue)
    lengths = {user: len(history_of(population, user)) for user in simulation.evaluated}
    able = [user for user, length in lengths.items() if is_evaluated(length, items)]
    ranks: dict[Phase, dict[int, tuple[int, int]]] = {"validation": {}, "test": {}}
    done = 0
    where = torch.from_numpy(engine.schema.places(part.schema))
    request = Request(
        "update", config, len(simulation.population), settings=""
    )  # that nobody sends
    for members, deltas in engine.deltas(request, able, part=part):
        adapters = initial.repeat(len(members), 1)
        adapters[:, where] += deltas
        for phase, of in ranks.items():
            found = engine.evaluate_each(members, adapters, phase, config)
            of.update(zip(members, zip(*found, strict=True), strict=True))
        done += len(members)
        advance(len(members) * settings.local_steps, f"{done} users")
    return _found(*(_ordered(ranks[phase]) for phase in ("test", "validation")))


def centralized(simulation: Simulation, config: ExperimentConfig, advance: Advance) -> Findings:
    """All histories in one place, AdamW, no privacy; the epoch that validates best."""
    engine = simulation.engine(config.model)
    settings = config.references
    inputs, targets = _pooled(simulation, config)
    part = engine.alone(config)
    theta = part.start.clone().requires_grad_(True)
    optimizer = torch.optim.AdamW([theta], lr=settings.centralized_lr)
    rng = np.random.default_rng(config.seed)
    best: tuple[float, Tensor] = (-1.0, _whole(engine, part, theta))
    for epoch in range(settings.centralized_epochs):
        order = rng.permutation(len(inputs))
        for start in range(0, len(order), settings.centralized_batch):
            rows = torch.from_numpy(order[start : start + settings.centralized_batch])
            theta.grad = _gradient(engine, part, theta, inputs[rows], targets[rows])
            optimizer.step()
        adapter = _whole(engine, part, theta)
        found = engine.evaluate(simulation.evaluated, adapter, "validation", config)
        metrics = ranking_metrics(*found)
        remark = f"epoch {epoch + 1}, validation HR@10 {metrics['hr@10']:.3f}"
        advance(len(simulation.evaluated), remark)
        score = selection_score(metrics)
        if score > best[0]:
            best = score, adapter
    return _evaluate(engine, simulation, best[1], config) | {"epochs": settings.centralized_epochs}


def _whole(engine: CohortEngine, part: Part, theta: Tensor) -> Tensor:
    """The adapter [dim] with what is trained of it at theta."""
    return engine.schema.flatten({**part.frozen, **part.schema.unflatten(theta.detach())}).clone()


def _gradient(
    engine: CohortEngine, part: Part, theta: Tensor, inputs: Tensor, targets: Tensor
) -> Tensor:
    """Of the mean loss over all targets of a batch of windows [n, length], [dim].

    A large catalogue is gone through in several pieces, so that its scores fit into memory.
    """
    window = 4 * _SCORES * inputs.shape[1] * len(engine.population.catalogue)  # bytes
    piece = max(1, _MEMORY_BUDGET // window)
    counted = (targets >= 0).sum().clamp(min=1).to(engine.device)
    total = torch.zeros_like(theta)
    for start in range(0, len(inputs), piece):
        some, wanted = inputs[start : start + piece], targets[start : start + piece]
        losses = token_losses(
            engine.recommender,
            {**part.frozen, **part.schema.unflatten(theta)},
            some.to(engine.device),
            wanted.to(engine.device),
        )
        (gradient,) = torch.autograd.grad(losses.sum() / counted, theta)
        total += gradient
    return total


def _pooled(simulation: Simulation, config: ExperimentConfig) -> tuple[Tensor, Tensor]:
    histories = (history_of(simulation.population, user) for user in simulation.evaluated)
    cuts = [user_windows(history, config) for history in histories]
    inputs = np.concatenate([cut.inputs for cut in cuts])
    targets = np.concatenate([cut.targets for cut in cuts])
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def _evaluate(
    engine: CohortEngine, simulation: Simulation, adapter: Tensor, config: ExperimentConfig
) -> Findings:
    test = engine.evaluate(simulation.evaluated, adapter, "test", config)
    return _found(test, engine.evaluate(simulation.evaluated, adapter, "validation", config))


def _both(
    engine: CohortEngine,
    simulation: Simulation,
    score: Callable[[Tensor, Tensor], Tensor],
    config: ExperimentConfig,
) -> Findings:
    test = engine.ranks(simulation.evaluated, score, "test", config)
    return _found(test, engine.ranks(simulation.evaluated, score, "validation", config))


def _ordered(of: dict[int, tuple[int, int]]) -> _Ranks:
    """Sampled and full ranks by user, in the order of users."""
    sampled, full = ([of[user][which] for user in sorted(of)] for which in (0, 1))
    return sampled, full


def _found(test: _Ranks, validation: _Ranks) -> Findings:
    """Metrics, and where everyone's test item ranks, in the order of users: for comparisons."""
    return {
        "metrics": ranking_metrics(*test),
        "validation": ranking_metrics(*validation),
        "ranks": {"sampled": test[0], "full": test[1]},
    }


REFERENCES = {
    "popularity": popularity,
    "zero_shot": zero_shot,
    "local_only": local_only,
    "centralized": centralized,
}


def planned_updates(name: str, config: ExperimentConfig, users: int) -> int:
    """Client updates that a reference amounts to, for telling how much is left."""
    per_user = {
        "local_only": config.references.local_steps,
        "centralized": config.references.centralized_epochs,
    }
    return users * per_user.get(name, 0)
