"""Contexts as one batch, and their scores after the last item only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.data.windows import START, context_window
from shared.model.recommender import Recommender


def padded(
    contexts: Sequence[npt.NDArray[np.int64]], max_length: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Windows int64 [n, longest] of the ends of contexts, and their last positions int64 [n]."""
    windows = [context_window(context, max_length) for context in contexts]
    longest = max(len(window) for window in windows)
    table = np.full((len(windows), longest), START, dtype=np.int64)
    for row, window in zip(table, windows, strict=True):
        row[: len(window)] = window
    last = np.array([len(window) - 1 for window in windows])
    return torch.from_numpy(table).to(device), torch.from_numpy(last).to(device)


class LastScores(torch.nn.Module):
    """Scores after the last position only: the catalogue's product for one position a user."""

    def __init__(self, recommender: Recommender) -> None:
        super().__init__()
        self.recommender = recommender

    def forward(self, windows: Tensor, last: Tensor) -> Tensor:
        """Scores [n, items] of windows [n, length] after their last positions [n]."""
        hidden = self.recommender.hidden(windows)  # [n, length, hidden]
        place = last[:, None, None].expand(-1, 1, hidden.shape[-1])
        return self.recommender.score(hidden.gather(1, place)[:, 0])
