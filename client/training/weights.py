"""What a target counts in the loss: exposure corrected for by inverse propensities.

Who is shown an item, and so can meet it, depends on its popularity. With b the item bias of the
adapter that a round begins from, which starts as the logarithm of the released popularity,

    p_i ~ exp(b_i)^gamma,   gamma = 1/2
    w_i = min(bound, p_i^-1 / sum over j of softmax(b)_j p_j^-1)

so that a target drawn by popularity counts 1 on average before the bound. `ips` is the mean of
w l over a person's targets, `snips` their sum over the sum of the w.

Weights are made of what every device was sent and of nothing of its person. They are inside the
loss, before any clip: what one person or window may contribute is bounded by the clip as it is
without them, whatever they are, and so no accounting changes.

References
----------
Schnabel et al. 2016, Recommendations as Treatments.
Saito et al. 2020, Unbiased Recommender Learning from Missing-Not-At-Random Implicit Feedback.
Swaminathan and Joachims 2015, The Self-Normalized Estimator for Counterfactual Learning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from shared.config import ExperimentConfig
from shared.model.adapter import TargetWeights

BIAS = "item_bias.weight"
_POWER = 0.5
_BOUND = 10.0


def weights_of(config: ExperimentConfig, adapter: Mapping[str, Tensor]) -> TargetWeights | None:
    """What targets count under these settings at an adapter as it was sent; None: all alike."""
    correction, bound = config.train.correction, config.train.weight_bound
    if correction is None:
        return None
    return TargetWeights(
        item_weights(adapter[BIAS][:, 0].detach(), bound or _BOUND), correction == "snips"
    )


def item_weights(bias: Tensor, bound: float) -> Tensor:
    """w of every item, float32 [items], in [0, bound].

    Parameters
    ----------
    bias : Tensor float [items]
        Finite.
    bound : float
        >= 1.
    """
    wide = bias.double()
    usual = torch.logsumexp(torch.log_softmax(wide, 0) - _POWER * wide, 0)
    logarithms = (-_POWER * wide - usual).clamp(max=math.log(bound))
    return torch.exp(logarithms).clamp(max=bound).to(bias.dtype)
