"""How much a released model likes items after those before them: what it tells of by its scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from client.training.train import token_losses
from shared.data.windows import Windows
from shared.update import Arrays
from simulations.engine.cohort import CohortEngine

_AT_ONCE = 64  # windows that are read together


@torch.no_grad()
def log_likelihoods(engine: CohortEngine, adapter: Arrays, cut: Windows) -> npt.NDArray[np.float64]:
    """Of all the targets of each window together, under an adapter [windows]."""
    tensors = engine.schema.unflatten(engine.schema.from_arrays(adapter).to(engine.device))
    found = np.zeros(len(cut))
    for start in range(0, len(cut), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        pair = [torch.from_numpy(x[rows]).to(engine.device) for x in (cut.inputs, cut.targets)]
        losses = token_losses(engine.recommender, tensors, *pair).sum(-1)
        found[rows] = -losses.double().cpu().numpy()
    return found
