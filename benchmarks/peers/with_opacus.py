"""The sequential loop with Opacus: per-sample gradients from its hooks, clipped by its optimiser.

A sample is a window. The noise is the server's under central trust, so here its multiplier is 0.
"""

from __future__ import annotations

import warnings

import torch
from opacus.grad_sample import GradSampleHooks
from opacus.optimizers import DPOptimizer
from torch import Tensor
from torch.nn.functional import cross_entropy
from work import EXAMPLE_CLIP, RATE, Work

from peers import Cohorts, Done
from peers.sequential import trained
from shared.model.adapter import AdapterSchema, current, install
from shared.model.recommender import Recommender


def window_losses(model: Recommender, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of every window [windows]."""
    scores = model(inputs)  # [windows, length, items]
    losses = cross_entropy(
        scores.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="none"
    ).view(targets.shape)
    return losses.sum(1) / (targets >= 0).sum(1)


def run(work: Work, unit: str, cohorts: Cohorts, done: Done) -> None:
    """Train every client of every cohort."""
    del unit  # it has one
    warnings.filterwarnings("ignore", "Full backward hook is firing")
    model = work.recommender()
    schema = AdapterSchema.of(model).trainable
    start = work.adapter(schema).to(work.device)
    GradSampleHooks(model)
    optimizer = DPOptimizer(
        torch.optim.SGD(trained(model), lr=RATE),
        noise_multiplier=0.0,
        max_grad_norm=EXAMPLE_CLIP,
        expected_batch_size=work.size.shape.windows,
    )
    for cohort in cohorts:
        updates = []
        for user in cohort:
            install(model, schema, start)
            inputs, targets = work.batch(user)
            optimizer.zero_grad()
            window_losses(model, inputs, targets).mean().backward()
            optimizer.step()
            updates.append(current(model, schema) - start)
        done(torch.stack(updates).cpu())
