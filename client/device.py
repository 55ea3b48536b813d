"""The device: owns one user's history and the model, and answers the three things it may be asked.

What leaves is an update clipped to the agreed norm, a clipped histogram, or, in a simulation, the
ranks of held-out items ("evaluator only"). Everything is computed by the same functions that the
cohort engine batches.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from client.batches import local_batches, user_windows
from client.evaluate import Phase, held_out, target_ranks
from client.train import local_update
from shared.config import ExperimentConfig
from shared.data.split import training_history
from shared.data.windows import context_window
from shared.errors import ProtocolError
from shared.model.adapter import AdapterSchema
from shared.model.arrays import Arrays
from shared.model.recommender import Recommender
from shared.privacy.clipping import L2Clip
from shared.privacy.histogram import HISTOGRAM_CLIP, histogram_schema
from shared.update import Update


def update_clip(config: ExperimentConfig) -> L2Clip | None:
    """The clip of a user's update; None at infinite epsilon, where nothing is bounded."""
    finite = np.isfinite(config.privacy.epsilon)
    return L2Clip(config.privacy.clipping_norm) if finite else None


def user_histogram(history: npt.NDArray[np.int64], items: int) -> npt.NDArray[np.float32]:
    """One user's share of the popularity histogram, float32 [items], of L2 norm 1 (or 0).

    Every training item of the user weighs 1/sqrt(n): under one L2 clip this spends all of the
    sensitivity, however long the history is.
    """
    counts = np.zeros(items, dtype=np.float32)
    mine = training_history(history)
    if len(mine):
        counts[mine] = len(mine) ** -0.5
    clipped: npt.NDArray[np.float32] = HISTOGRAM_CLIP(torch.from_numpy(counts)).numpy()
    return clipped


class Device:
    """One user's device.

    Parameters
    ----------
    history : int64 [n]
        The user's items, oldest first.
    user : int
        Index of the user: seeds what is random on a simulated device.
    recommender : Recommender
        Its own adapter is not used: every request brings the global one.
    """

    def __init__(self, history: npt.NDArray[np.int64], user: int, recommender: Recommender) -> None:
        self.history = history
        self.user = user
        self.recommender = recommender
        self.schema = AdapterSchema.of(recommender)

    def train(self, arrays: Arrays, round_number: int, config: ExperimentConfig) -> Update:
        """One round of local training; the clipped delta of the adapter."""
        adapter = self._adapter(arrays)
        inputs, targets = local_batches(
            user_windows(self.history, config), config, round_number, self.user
        )
        delta, _ = local_update(
            self.recommender,
            self.schema,
            adapter,
            torch.from_numpy(inputs).to(adapter.device),
            torch.from_numpy(targets).to(adapter.device),
            config.train.local_lr,
            config.train.weight_decay,
        )
        clip = update_clip(config)
        delta = clip(delta) if clip else delta
        vector = delta.cpu().numpy()
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        return Update(vector, 1.0, norm, self.schema.digest)

    @torch.no_grad()
    def evaluate(
        self, arrays: Arrays, phase: Phase, config: ExperimentConfig
    ) -> tuple[int, int] | None:
        """Sampled and full rank of the held-out item; None for a user too short to be evaluated."""
        case = held_out(self.history, phase)
        if case is None:
            return None
        scores = self.scores(self._adapter(arrays), case.context, config.model.max_length)
        return target_ranks(scores, self.history, case, config.data.negatives, self.user)

    @torch.no_grad()
    def scores(
        self, adapter: torch.Tensor, context: npt.NDArray[np.int64], max_length: int
    ) -> npt.NDArray[np.float32]:
        """Scores [items] of the next item after a context."""
        window = torch.from_numpy(context_window(context, max_length))[None].to(adapter.device)
        tensors = self.schema.unflatten(adapter)
        result = torch.func.functional_call(self.recommender, tensors, (window,))
        array: npt.NDArray[np.float32] = result[0, -1].float().cpu().numpy()
        return array

    def histogram(self) -> Update:
        """The user's share of the popularity histogram."""
        items = len(self.recommender.items)
        vector = user_histogram(self.history, items)
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        return Update(vector, 1.0, norm, histogram_schema(items))

    def _adapter(self, arrays: Arrays) -> torch.Tensor:
        if set(arrays) != set(self.schema.names):
            raise ProtocolError("the adapter received is not of this device's schema")
        return self.schema.from_arrays(arrays).to(self.recommender.items.device)
