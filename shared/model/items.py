"""Item text -> what is public of the items: vectors, encoded once and cached, and attributes.

The catalogue is public and fixed before the run: nothing here sees an interaction.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from shared.data.attributes import attribute_factors
from shared.errors import ModelError
from shared.files import cache_folder, check_file
from shared.model.backbone import BackboneSource, load
from shared.model.text import load_tokenizer

MAX_TOKENS = 64
Vectors = npt.NDArray[np.float32]


def item_vectors(
    texts: Sequence[str], source: BackboneSource, cache: Path | None = None, batch: int = 64
) -> Vectors:
    """The public table: text vectors, and beside them the factors of the texts' attributes.

    A text vector is mean-pooled, centred over the catalogue, of unit length.

    Parameters
    ----------
    texts : sequence of str, length [items]
    source : BackboneSource
        The full language model encodes, however few layers the recommender keeps.
    cache : Path, optional
        Folder of the cache; default `$STARLING_CACHE` or the user's cache folder. Keyed by the
        backbone's digest (weights, configuration and tokenizer) and all texts; a cache that cannot
        be written is done without.
    batch : int
        Texts encoded at once.

    Returns
    -------
    ndarray float32 [items, hidden + 104]
        The last columns are `shared.data.attributes.attribute_factors`.
    """
    key = hashlib.sha256()
    for part in (source.digest, str(MAX_TOKENS), "mean", *texts):
        key.update(part.encode() + b"\0")
    file = (cache or cache_folder()) / "items" / f"{key.hexdigest()}.npy"
    pooled = _read(file, len(texts))
    if pooled is None:
        pooled = _encode(texts, source, batch)
        _write(file, pooled)
    centred = pooled - pooled.mean(axis=0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    vectors = centred / np.maximum(length, 1e-12)
    return np.concatenate([vectors, attribute_factors(texts)], axis=1, dtype=np.float32)


def _encode(texts: Sequence[str], source: BackboneSource, batch: int) -> Vectors:
    tokenizer = load_tokenizer(source)
    model = load(source).eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # like lengths share a batch
    pooled: Vectors | None = None
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            tokens = tokenizer(
                [texts[i] for i in chosen],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            )
            try:
                hidden = model(**tokens).last_hidden_state  # [batch, tokens, hidden]
            except IndexError:
                raise ModelError(
                    f"backbone {source.location}: its tokenizer knows tokens, or positions, that "
                    "its weights lack; give both of one model"
                ) from None
            mask = tokens["attention_mask"][..., None].to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
            if pooled is None:
                pooled = np.empty((len(texts), mean.shape[1]), dtype=np.float32)
            pooled[chosen] = mean.numpy()
    if pooled is None:
        return np.empty((0, 0), dtype=np.float32)
    return pooled


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
