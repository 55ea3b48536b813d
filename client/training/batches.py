"""A user's history -> the batches of windows that one round trains on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.config import ExperimentConfig
from shared.data.split import training_history
from shared.data.windows import START, Windows, windows

Indices = npt.NDArray[np.int64]

# Streams of randomness that must not meet.
_BATCHES = 0x62617463


def user_windows(history: Indices, config: ExperimentConfig) -> Windows:
    """The training windows of a user, within the contribution bound; no held-out interaction."""
    return windows(training_history(history), config.model.max_length, config.train.max_windows)


def local_batches(
    cut: Windows, config: ExperimentConfig, round_number: int, key: int
) -> tuple[Indices, Indices]:
    """The windows of each local step.

    Depends on nothing random but (seed, round, key), so that every engine trains alike and on
    nobody else's account.

    Parameters
    ----------
    cut : Windows
        w windows; with w = 0 one window without a target stands in, which changes nothing.
    round_number : int
        >= 0.
    key : int
        The person's, >= 0; see `shared.data.population`.

    Returns
    -------
    inputs, targets : int64 [steps, batch, length]
    """
    settings = config.train
    inputs, targets = cut.inputs, cut.targets
    if not len(cut):
        inputs = targets = np.full((1, config.model.max_length), START, dtype=np.int64)
    rng = np.random.default_rng((_BATCHES, config.seed, round_number, key))
    size = min(settings.local_batch or len(inputs), len(inputs))
    chosen = np.stack(
        [
            rng.choice(len(inputs), size, replace=False) if size < len(inputs) else np.arange(size)
            for _ in range(settings.local_steps)
        ]
    )
    batch = inputs[chosen]
    if settings.history_dropout:
        batch = np.where(rng.random(batch.shape) < settings.history_dropout, START, batch)
    return batch, targets[chosen]
