"""A plain resident PyTorch loop: one client at a time, padded windows, `loss.backward()`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from work import CLIP, RATE, Work

from peers import Cohorts, Done
from shared.model.adapter import AdapterSchema, current, install
from shared.model.recommender import Recommender


def loss_of(model: Recommender, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over all targets of a client; int64 [windows, length] each."""
    scores = model(inputs)  # [windows, length, items]
    return cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=-1)


def trained(model: Recommender) -> list[torch.nn.Parameter]:
    """What the optimiser moves."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def run(work: Work, unit: str, cohorts: Cohorts, done: Done) -> None:
    """Train every client of every cohort."""
    model = work.recommender()
    schema = AdapterSchema.of(model).trainable
    start = work.adapter(schema).to(work.device)
    optimizer = torch.optim.SGD(trained(model), lr=RATE)
    for cohort in cohorts:
        updates = []
        for user in cohort:
            install(model, schema, start)
            inputs, targets = work.batch(user)
            optimizer.zero_grad()
            loss_of(model, inputs, targets).backward()
            optimizer.step()
            update = current(model, schema) - start
            if unit == "user":
                update *= (CLIP / update.norm()).clamp(max=1)
            updates.append(update)
        done(torch.stack(updates).cpu())
