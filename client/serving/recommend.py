"""Ranking on the device, with reasons that add up to the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.data.windows import START, context_window
from shared.errors import ConfigError
from shared.model.affinities import ScoreParts
from shared.model.recommender import Recommender


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes
    ----------
    item : int
    score : float
        popularity + language_model + sum of `history` shares + asked, up to rounding.
    popularity : float
        The item's bias.
    language_model : float
        What the frozen model and its adapter add, reading the history in order.
    history : tuple of (item, share)
        What each item of the recent history adds by being like this one, most first.
    kinds : tuple of (kind, share)
        The same by what they are alike in, most first: `text`, and the other blocks of
        `shared.model.affinities`.
    asked : float
        What being as the person asked for adds; see `client.words.wish`.
    """

    item: int
    score: float
    popularity: float
    language_model: float
    history: tuple[tuple[int, float], ...]
    kinds: tuple[tuple[str, float], ...]
    asked: float = 0.0


@torch.no_grad()
def recommend(
    recommender: Recommender,
    history: npt.NDArray[np.int64],
    max_length: int,
    k: int,
    unwanted: Sequence[int] = (),
    asked: npt.NDArray[np.float64] | None = None,
) -> list[Recommendation]:
    """The k best items that the history does not hold, best first.

    The score is linear in the last state, and the state is the language model's plus weighted sums
    of what is known of the history's items: so its parts are exact, not an approximation.

    Parameters
    ----------
    recommender : Recommender
        With its adapter installed.
    history : int64 [n]
        Oldest first; may be empty.
    max_length : int
        L, how many of the latest items are read.
    k : int
        >= 1; at most the number of items that are neither in the history nor unwanted.
    unwanted : sequence of int, optional
        Items that are not recommended either.
    asked : float64 [items], optional
        Added to a score, in standard deviations of the scores of all items that are left.

    Raises
    ------
    ConfigError
        If k is out of range.
    """
    closed = sorted({*history.tolist(), *unwanted})
    open_items = len(recommender.items) - len(closed)
    if not 1 <= k <= open_items:
        also = " or turned down" if unwanted else ""
        raise ConfigError(
            f"-k {k}: must be in [1, {open_items}], the items not in the history{also}"
        )
    window = _window(recommender, history, max_length)
    state = recommender.state(window)
    scores = recommender.score(state.total)
    left = torch.ones(len(scores), dtype=torch.bool)
    left[torch.tensor(closed, dtype=torch.long)] = False
    more = torch.zeros_like(scores)
    if asked is not None and open_items > 1:
        more = torch.from_numpy(asked).to(scores) * scores[left].std()
    best = torch.topk((scores + more).where(left.to(scores.device), -torch.inf), k).indices
    found = _explained(window, recommender.parts(state, best), best)
    if asked is None:
        return found
    return [_with(one, float(more[one.item])) for one in found]


@torch.no_grad()
def scores_of(recommender: Recommender, history: npt.NDArray[np.int64], max_length: int) -> Tensor:
    """The scores of all items after a history, [items]; parameters as for `recommend`."""
    state = recommender.state(_window(recommender, history, max_length))
    return recommender.score(state.total)


@torch.no_grad()
def explain(
    recommender: Recommender,
    history: npt.NDArray[np.int64],
    max_length: int,
    items: Sequence[int],
) -> list[Recommendation]:
    """The scores of any items, recommended or not, in parts; parameters as for `recommend`."""
    window = _window(recommender, history, max_length)
    asked = torch.tensor(list(items), dtype=torch.long)
    return _explained(window, recommender.parts(recommender.state(window), asked), asked)


def _window(recommender: Recommender, history: npt.NDArray[np.int64], max_length: int) -> Tensor:
    return torch.from_numpy(context_window(history, max_length)).to(recommender.items.device)


def _explained(window: Tensor, parts: ScoreParts, items: Tensor) -> list[Recommendation]:
    """Parts of these items' scores alone: of all of a catalogue's they would take much longer."""
    return [_one(item, place, window, parts) for place, item in enumerate(items.tolist())]


def _with(one: Recommendation, asked: float) -> Recommendation:
    return replace(one, score=one.score + asked, asked=asked)


def _one(item: int, place: int, window: Tensor, parts: ScoreParts) -> Recommendation:
    places = parts.places[:, place].tolist()
    shares = [
        (seen, share) for seen, share in zip(window.tolist(), places, strict=True) if seen != START
    ]
    kinds = [(kind, float(part[:, place].sum())) for kind, part in parts.history.items()]
    return Recommendation(
        item,
        float(parts.total[place]),
        float(parts.popularity[place]),
        float(parts.language_model[place]),
        tuple(sorted(shares, key=lambda share: -share[1])),
        tuple(sorted(kinds, key=lambda share: -share[1])),
    )
