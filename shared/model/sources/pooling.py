"""How a language model's states become one vector of a text.

    mean         the mean of the last states over the text's tokens
    last         the last state after the text in a prompt that asks for one word (PromptEOL, Jiang
                 et al. 2023, https://arxiv.org/abs/2307.16645): a decoder's mean mixes states that
                 have read almost nothing
    *_apart      the same without the directions that all texts of a catalogue share (Mu and
                 Viswanath 2018, https://arxiv.org/abs/1702.01417): the leading 1 % of them

Which of them a model gets is chosen by what its vectors say of the texts alone: see
`attribute_agreement`, and `python benchmarks/pooling.py` for the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.config import Pooling
from shared.data.attributes import attribute_factors

PROMPT = ('This sentence : "', '" means in one word:"')
MAX_TOKENS = 64  # of a text, the prompt's left out
Vectors = npt.NDArray[np.float32]


def tokens_of(tokenizer: Any, texts: Sequence[str], pooling: Pooling) -> Any:
    """A padded batch: `input_ids` and `attention_mask`, int64 [texts, tokens]."""
    if not pooling.startswith("last"):
        return tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
    plain: dict[str, Any] = {"add_special_tokens": False}
    before, after = (tokenizer(part, **plain)["input_ids"] for part in PROMPT)
    read = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS, **plain)["input_ids"]
    rows = {"input_ids": [[*before, *row, *after] for row in read]}
    return tokenizer.pad(rows, return_tensors="pt")


def pooled(hidden: Any, mask: Any, pooling: Pooling) -> Any:
    """States [texts, tokens, hidden] and mask [texts, tokens] -> [texts, hidden]."""
    if pooling.startswith("last"):
        last = mask.sum(1) - 1
        return hidden[range(len(hidden)), last]
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def finished(states: Vectors, pooling: Pooling) -> Vectors:
    """Centred over the catalogue, without common directions where asked, of unit length.

    Parameters
    ----------
    states : ndarray float32 [items, hidden]
    """
    centred = states - states.mean(axis=0)
    if pooling.endswith("_apart"):
        wide = centred.astype(np.float64)
        shared = np.linalg.eigh(wide.T @ wide)[1][:, -max(1, round(wide.shape[1] / 100)) :]
        centred = (wide - wide @ shared @ shared.T).astype(np.float32)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    vectors: Vectors = centred / np.maximum(length, 1e-12)
    return vectors


def attribute_agreement(vectors: Vectors, texts: Sequence[str], neighbours: int = 10) -> float:
    """The criterion: how alike in their attributes items are whose vectors are near.

    Parameters
    ----------
    vectors : ndarray float32 [items, hidden]
        Of unit length.
    texts : sequence of str
        Whose attributes (`shared.data.attributes`) are compared; no interaction is looked at.
    neighbours : int
        Nearest other items of each.

    Returns
    -------
    float
        Mean inner product of attributes with the nearest, less that with any other item, over that
        of an item with itself: 0 by chance, at most 1; 0 where texts state no attributes.
    """
    factors = attribute_factors(texts).astype(np.float64)
    alike = factors @ factors.T
    own = float(np.trace(alike))
    if own == 0:
        return 0.0
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    count = min(neighbours, len(texts) - 1)
    nearest = np.argpartition(-near, count - 1, axis=1)[:, :count]
    chance = (alike.sum() - own) / (len(texts) * (len(texts) - 1))
    found = float(np.take_along_axis(alike, nearest, axis=1).mean())
    return float((found - chance) / (own / len(texts) - chance))
