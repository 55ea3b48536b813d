"""Item text -> what is public of the items: vectors, encoded once and cached, and attributes.

The catalogue is public and fixed before the run: nothing here sees an interaction.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.config import Pooling
from shared.data.attributes import attribute_factors
from shared.errors import ModelError
from shared.files import cache_folder, check_file
from shared.model.backbone import BackboneSource, load
from shared.model.sources.pooling import (
    MAX_TOKENS,
    PROMPT,
    Vectors,
    finished,
    pooled,
    tokens_of,
)
from shared.model.text import load_tokenizer


def item_vectors(
    texts: Sequence[str],
    source: BackboneSource,
    cache: Path | None = None,
    batch: int = 64,
    pooling: Pooling = "mean",
) -> Vectors:
    """The public table: text vectors, and beside them the factors of the texts' attributes.

    A text vector is pooled, centred over the items that have a text, of unit length; zero where an
    item has none.

    Parameters
    ----------
    texts : sequence of str, length [items]
        As `Catalogue.described`: empty for none.
    source : BackboneSource
        The full language model encodes, however few layers the recommender keeps.
    cache : Path, optional
        Folder of the cache; default `$STARLING_CACHE` or the user's cache folder. Keyed by the
        backbone's digest (weights, configuration and tokenizer) and all texts; a cache that cannot
        be written is done without.
    batch : int
        Texts encoded at once.
    pooling : str
        As `model.pooling`.

    Returns
    -------
    ndarray float32 [items, hidden + 104]
        The last columns are `shared.data.attributes.attribute_factors`.
    """
    key = hashlib.sha256()
    read = pooling.removesuffix("_apart")
    how = (read,) if read == "mean" else (read, *PROMPT)
    for part in (source.digest, str(MAX_TOKENS), *how, *texts):
        key.update(part.encode() + b"\0")
    file = (cache or cache_folder()) / "items" / f"{key.hexdigest()}.npy"
    known = [place for place, text in enumerate(texts) if text]
    states = _read(file, len(known))
    if states is None:
        states = text_states([texts[place] for place in known], source, pooling, batch)
        _write(file, states)
    vectors: Vectors = np.zeros((len(texts), states.shape[1]), dtype=np.float32)
    if known:
        vectors[known] = finished(states, pooling)
    return beside_attributes(vectors, texts)


def beside_attributes(vectors: Vectors, texts: Sequence[str]) -> Vectors:
    """The public table of text vectors [items, hidden]."""
    return np.concatenate([vectors, attribute_factors(texts)], axis=1, dtype=np.float32)


def text_states(
    texts: Sequence[str], source: BackboneSource, pooling: Pooling, batch: int = 64
) -> Vectors:
    """Pooled states of any texts, neither centred nor kept anywhere; float32 [texts, hidden].

    A person's own words go through here: nothing of them is in a cache.
    """
    tokenizer = load_tokenizer(source)
    model = load(source).eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # like lengths share a batch
    states: Vectors | None = None
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            tokens = tokens_of(tokenizer, [texts[i] for i in chosen], pooling)
            try:
                hidden = model(**tokens).last_hidden_state  # [batch, tokens, hidden]
            except IndexError:
                raise ModelError(
                    f"backbone {source.location}: its tokenizer knows tokens, or positions, that "
                    "its weights lack; give both of one model"
                ) from None
            found = pooled(hidden, tokens["attention_mask"], pooling)
            if states is None:
                states = np.empty((len(texts), found.shape[1]), dtype=np.float32)
            states[chosen] = found.numpy()
    if states is None:
        shape: Any = model.config
        return np.empty((0, shape.hidden_size), dtype=np.float32)
    return states


def _read(file: Path, items: int) -> Vectors | None:
    try:
        check_file(file)
        with file.open("rb") as stream:
            vectors: Vectors = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # missing or torn: encode again
    good = vectors.ndim == 2 and len(vectors) == items and vectors.dtype == np.float32
    return vectors if good and bool(np.isfinite(vectors).all()) else None


def _write(file: Path, vectors: Vectors) -> None:
    draft: Path | None = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npy", delete=False) as stream:
            draft = Path(stream.name)  # of its own: two may encode at once
            np.save(stream, vectors)
        draft.replace(file)  # atomic: a reader sees the whole file or none
    except OSError:
        if draft is not None:
            draft.unlink(missing_ok=True)  # a full disk is not filled further
