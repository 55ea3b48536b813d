"""Ranking for somebody who says in words what they are looking for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from client.serving.adapters import Trained
from client.serving.recommend import Recommendation, recommend
from client.words.facts import Items
from client.words.wish import WEIGHT, Reader, Wish
from shared.model.sources.choice import encoder_of


def read_wish(trained: Trained, items: Items, words: str) -> Wish:
    """What words ask for, by rules and by the text encoder of the model's items.

    Raises
    ------
    ModelError
        If that encoder is not installed.
    """
    vectors = trained.recommender.items.detach().cpu().numpy()
    return Reader(items, vectors, encoder_of(trained.config.model)).read(words)


def recommend_as_asked(
    trained: Trained,
    history: npt.NDArray[np.int64],
    k: int,
    wish: Wish,
    unwanted: Sequence[int] = (),
) -> list[Recommendation]:
    """The k best items by history and wish; parameters and errors as for `recommend`.

    Titles that were named stand at the end of the history, as if they had been chosen last: for
    somebody without one they are all of it.
    """
    named = list(dict.fromkeys(wish.named))
    before = history[~np.isin(history, named)]
    read = np.concatenate([before, np.array(named, dtype=np.int64)])
    closed = [*unwanted, *wish.rejected]
    fit = WEIGHT * wish.fit(len(trained.recommender.items))
    length = trained.config.model.max_length
    return recommend(trained.recommender, read, length, k, closed, fit)
