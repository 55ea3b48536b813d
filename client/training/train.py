"""Local training of one client, one function per privacy unit.

Functional on purpose: the cohort engine runs this very function under `torch.func.vmap`, a device
runs it alone, so there is one local training in the project.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value

from shared.model.adapter import AdapterSchema, TargetWeights, Tensors
from shared.model.recommender import Recommender


def window_loss(
    recommender: Recommender,
    adapter: Tensors,
    inputs: Tensor,
    targets: Tensor,
    weights: TargetWeights | None = None,
) -> Tensor:
    """Mean cross-entropy of the next item over the whole catalogue.

    Parameters
    ----------
    adapter : dict of Tensor
        The trained tensors; everything else is the recommender's own, frozen.
    inputs, targets : Tensor int64 [windows, length]
        Targets of -1 do not count. With no target at all the loss is 0.
    weights : TargetWeights, optional
        What targets count; by default all alike.

    Returns
    -------
    Tensor []
        -1/T sum_t log softmax(s_t)[target_t] over the T targets, weighted.
    """
    if weights is not None:
        shares = weights.shares(targets, (-2, -1))
        return (token_losses(recommender, adapter, inputs, targets) * shares).sum()
    counted = (targets >= 0).sum().clamp(min=1)
    mean: Tensor = token_losses(recommender, adapter, inputs, targets).sum() / counted
    return mean


def token_losses(
    recommender: Recommender, adapter: Tensors, inputs: Tensor, targets: Tensor
) -> Tensor:
    """Cross-entropy [windows, length] of every target over the whole catalogue; 0 without one."""
    scores = functional_call(recommender, adapter, (inputs,))  # [windows, length, items]
    chosen = scores.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    loss = torch.logsumexp(scores, dim=-1) - chosen
    counted: Tensor = loss * (targets >= 0).to(loss.dtype)
    return counted


def local_update(
    recommender: Recommender,
    schema: AdapterSchema,
    adapter: Tensor,
    inputs: Tensor,
    targets: Tensor,
    learning_rate: float | Tensor,
    weight_decay: float,
    frozen: Tensors | None = None,
    weights: TargetWeights | None = None,
) -> tuple[Tensor, Tensor]:
    """User-level unit: plain SGD steps from the global adapter; the whole delta is one update.

        theta_{s+1} = theta_s - lr (grad loss(theta_s; batch_s) + wd theta_s)

    Parameters
    ----------
    schema : AdapterSchema
        Of what is trained.
    adapter : Tensor float32 [dim]
        Its values in the global adapter.
    inputs, targets : Tensor int64 [steps, windows, length]
        One batch of windows per local step.
    learning_rate : float or Tensor float32 [dim]
        lr > 0; one for all coordinates, or one for each.
    weight_decay : float
        wd >= 0.
    frozen : dict of Tensor, optional
        The global adapter's other tensors; they get neither gradient nor decay.
    weights : TargetWeights, optional
        What targets count.

    Returns
    -------
    delta : Tensor float32 [dim]
        theta_S - theta_0, not clipped.
    loss : Tensor []
        Of the first step: the client's loss under the global adapter.

    References
    ----------
    McMahan et al. 2018, Learning Differentially Private Recurrent Language Models (DP-FedAvg).
    """

    def loss_of(vector: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
        tensors = {**(frozen or {}), **schema.unflatten(vector)}
        return window_loss(recommender, tensors, *batch, weights)

    losses: list[Tensor] = []

    def gradient(theta: Tensor, step: int) -> Tensor:
        found: tuple[Tensor, Tensor] = grad_and_value(loss_of)(theta, (inputs[step], targets[step]))
        losses.append(found[1])
        return found[0]

    theta = descend(adapter, inputs.shape[0], gradient, learning_rate, weight_decay)
    return theta - adapter, losses[0] if losses else adapter.new_zeros(())


def descend(
    theta: Tensor,
    steps: int,
    gradient: Callable[[Tensor, int], Tensor],
    learning_rate: float | Tensor,
    weight_decay: float,
) -> Tensor:
    """Plain SGD from `theta`, [dim] or a stack [clients, dim]; `gradient` of (theta, step)."""
    for step in range(steps):
        theta = theta - learning_rate * (gradient(theta, step) + weight_decay * theta)
    return theta


def learns(targets: Tensor) -> Tensor:
    """Whether there is anything to learn from: bool [...] of targets [..., steps, windows, length].

    Somebody without a target contributes nothing at all: neither the decay of weights, which is
    nobody's data, nor a bit about its norm.
    """
    return (targets >= 0).flatten(-3).any(-1)
