"""Ranking on the device, with reasons that add up to the score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.data.windows import START, context_window
from shared.errors import ConfigError
from shared.model.recommender import Recommender


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes
    ----------
    item : int
    score : float
        popularity + language_model + sum of `history` shares, up to rounding.
    popularity : float
        The item's bias.
    language_model : float
        What the frozen model and its adapter add, reading the history in order.
    history : tuple of (item, share)
        What each item of the recent history adds through the summary path, most first.
    """

    item: int
    score: float
    popularity: float
    language_model: float
    history: tuple[tuple[int, float], ...]


@torch.no_grad()
def recommend(
    recommender: Recommender, history: npt.NDArray[np.int64], max_length: int, k: int
) -> list[Recommendation]:
    """The k best items that the history does not hold, best first.

    The score is linear in the last state, and the state is the language model's plus a weighted
    sum of the history's item vectors: so its parts are exact, not an approximation.

    Parameters
    ----------
    recommender : Recommender
        With its adapter installed.
    history : int64 [n]
        Oldest first; may be empty.
    max_length : int
        L, how many of the latest items are read.
    k : int
        >= 1; at most the number of items not in the history.

    Raises
    ------
    ConfigError
        If k is out of range.
    """
    items = len(recommender.items)
    open_items = items - len(history)
    if not 1 <= k <= open_items:
        raise ConfigError(f"-k {k}: must be in [1, {open_items}], the items not in the history")
    window = torch.from_numpy(context_window(history, max_length)).to(recommender.items.device)
    parts = recommender.parts(window)  # [length, items], [items], [items]
    total = parts.history.sum(0) + parts.language_model + parts.popularity
    total[torch.tensor(history, dtype=torch.long)] = -torch.inf
    best = torch.topk(total, k).indices.tolist()
    return [
        _explained(item, window, parts.history, parts.language_model, parts.popularity)
        for item in best
    ]


def _explained(
    item: int, window: Tensor, history: Tensor, language_model: Tensor, popularity: Tensor
) -> Recommendation:
    shares = [
        (int(seen), float(history[place, item]))
        for place, seen in enumerate(window.tolist())
        if seen != START
    ]
    return Recommendation(
        item,
        float(history[:, item].sum() + language_model[item] + popularity[item]),
        float(popularity[item]),
        float(language_model[item]),
        tuple(sorted(shares, key=lambda share: -share[1])),
    )
