"""Gradients of single examples, two ways that agree: Opacus hooks on a device, vmap in a stack.

Both differentiate a window's mean loss, `client.training.train.window_loss`, and both are checked
at start against a plain backward pass: models adapted by PEFT have been seen to train under
per-example hooks with plausible losses while nothing was learned (opacus issues 820 and 826).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vmap

from client.training.train import window_loss
from shared.data.windows import PAD
from shared.errors import ModelError
from shared.model.adapter import AdapterSchema, TargetWeights, Tensors, current, install
from shared.model.layers import AdapterEmbedding, AdapterLinear
from shared.model.recommender import Recommender

PerExample = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(theta [clients, dim], inputs and targets [clients, windows, length]) -> [clients, windows, dim],
the gradient of every window's mean loss at its client's own theta."""

# Relative; float32 sums in another order differ by less than 1e-5. bf16 has 8 bits, and a batch of
# another size may round otherwise at every layer.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}


def stacked_gradients(
    recommender: Recommender,
    schema: AdapterSchema,
    frozen: Tensors | None = None,
    weights: TargetWeights | None = None,
) -> PerExample:
    """For any number of clients at once: `torch.func.vmap` over clients and their windows.

    With respect to the tensors of `schema`; `frozen` holds the adapter's others.
    """

    def loss(vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        tensors = {**(frozen or {}), **schema.unflatten(vector)}
        return window_loss(recommender, tensors, inputs[None], targets[None], weights)

    one = grad(loss)  # [dim], [length], [length] -> [dim]
    stacked: PerExample = vmap(vmap(one, in_dims=(None, 0, 0)))
    return stacked


def opacus_gradients(
    recommender: Recommender,
    schema: AdapterSchema,
    frozen: Tensors | None = None,
    weights: TargetWeights | None = None,
) -> PerExample:
    """For one client at a time: Opacus records per-sample gradients by hooks, without wrapping.

    The adapter, `frozen` tensors included, is written into the recommender's own parameters for as
    long as it takes.
    """
    from opacus.grad_sample import GradSampleHooks

    introduce_layers()
    parameters = dict(recommender.named_parameters())
    others = frozen or {}
    everything = AdapterSchema.of(recommender).subset((*schema.names, *others))

    def per_example(theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        if len(theta) != 1:
            raise ValueError(f"Expected a stack of 1 client, not {len(theta)}")
        before = current(recommender, everything)
        install(
            recommender, everything, everything.flatten({**others, **schema.unflatten(theta[0])})
        )
        hooks = GradSampleHooks(recommender)  # its loss_reduction "mean" divides by the batch
        try:
            losses = _window_losses(recommender, inputs[0], targets[0], weights)  # [windows]
            with warnings.catch_warnings():  # of the first layer: its input, data, has no gradient
                warnings.filterwarnings("ignore", "Full backward hook is firing")
                losses.mean().backward()  # type: ignore[no-untyped-call]  # torch: untyped
            samples = {
                name: parameters[name].grad_sample  # type: ignore[attr-defined]  # by Opacus
                for name in schema.names
            }
            return schema.flatten(samples)[None]  # [1, windows, dim]
        finally:
            recommender.zero_grad(set_to_none=True)
            hooks.cleanup()
            install(recommender, everything, before)

    return per_example


def introduce_layers() -> None:
    """Tell Opacus that our layers are a linear one and an embedding."""
    from opacus.grad_sample import register_grad_sampler
    from opacus.grad_sample.embedding import compute_embedding_grad_sample
    from opacus.grad_sample.linear import compute_linear_grad_sample

    register_grad_sampler(AdapterLinear)(compute_linear_grad_sample)
    register_grad_sampler(AdapterEmbedding)(compute_embedding_grad_sample)


def _window_losses(
    recommender: Recommender, inputs: Tensor, targets: Tensor, weights: TargetWeights | None
) -> Tensor:
    scores = recommender(inputs)  # [windows, length, items]
    chosen = scores.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    counted = (targets >= 0).to(scores.dtype)
    loss = (torch.logsumexp(scores, dim=-1) - chosen) * counted
    if weights is not None:
        weighted: Tensor = (loss * weights.shares(targets, (-1,))).sum(-1)
        return weighted
    mean: Tensor = loss.sum(-1) / counted.sum(-1).clamp(min=1)
    return mean


def check_gradients(
    per_example: PerExample,
    recommender: Recommender,
    schema: AdapterSchema,
    length: int,
    clients: int = 1,
) -> None:
    """Refuse to train where training would not learn, or where a clip would not bound a window.

    At adapters without zeros, on two made-up windows of each client, one of them shorter: every
    row must be the gradient of its own window alone, so that no other window is in what its clip
    bounds, and must move every tensor. What differs by less than the tolerance is not seen.

    Parameters
    ----------
    length : int
        Of a window, >= 2.
    clients : int
        Stacked, as many as `per_example` takes: first at one adapter that all share, then each at
        its own.

    Raises
    ------
    ModelError
        Naming the tensor.
    """
    rng = np.random.default_rng(0)
    device = recommender.items.device
    drawn = rng.integers(len(recommender.items), size=(clients, 2, length + 1))
    windows = torch.from_numpy(drawn).to(device)
    inputs, targets = windows[..., :-1], windows[..., 1:].clone()
    targets[:, 1, length // 2 :] = PAD
    draws = rng.standard_normal((clients, schema.dim)).astype(np.float32)
    own = 0.05 * torch.from_numpy(draws).to(device)
    for theta in (own[:1].expand(clients, -1), own)[: min(clients, 2)]:
        found = per_example(theta, inputs, targets).flatten(0, 1)  # [rows, dim]
        alone = [
            _plain_gradient(recommender, schema, theta[c], inputs[c, w][None], targets[c, w][None])
            for c in range(clients)
            for w in range(2)
        ]
        _check_rows(found, torch.stack(alone), schema, _TOLERANCE[recommender.dtype])


def _check_rows(found: Tensor, alone: Tensor, schema: AdapterSchema, tolerance: float) -> None:
    """Rows [rows, dim] against those of windows alone; relative to the largest of a tensor."""
    for name in schema.names:
        part = schema.slice_of(name)
        sizes = alone[:, part].norm(dim=1)
        if not float(sizes.min()) > 0:
            raise ModelError(f"adapter tensor {name!r}: gets no gradient; take it out of the model")
        apart = (found[:, part] - alone[:, part]).norm(dim=1)
        if not float(apart.max()) <= tolerance * float(sizes.max()):  # also refuses NaN
            raise ModelError(
                f"adapter tensor {name!r}: the gradient of a window is not that of that window "
                "alone; this backbone cannot be trained per example"
            )


def _plain_gradient(
    recommender: Recommender, schema: AdapterSchema, theta: Tensor, inputs: Tensor, targets: Tensor
) -> Tensor:
    """Of the mean loss of one window, inputs and targets [1, length], by a backward pass."""
    vector = theta.clone().requires_grad_(True)
    loss = window_loss(recommender, schema.unflatten(vector), inputs, targets)
    (gradient,) = torch.autograd.grad(loss, vector)
    return gradient
