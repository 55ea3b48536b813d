"""Who reads histories and who encodes items: two choices of the settings, found and checked.

model.items     item vectors                                       they enter the reader
unset           the backbone's own of the items' texts             as they are
a backbone      that one's of the items' texts                     through `entrance`
a file .npz     `items` (identifiers), `vectors` [items, width]    through `entrance`
"""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from shared.config import ModelConfig, Pooling
from shared.data.catalogue import Catalogue
from shared.errors import ModelError
from shared.files import check_file
from shared.model.backbone import SMOLLM2_SHA256, BackboneSource, resolve
from shared.model.items import beside_attributes, item_vectors, text_states
from shared.model.recommender import Recommender, build_recommender
from shared.model.sources.gguf import sha256
from shared.model.sources.pooling import Vectors, finished
from shared.model.start import Start

# Settings of one experiment: what its weights and item vectors are, and their digests.
WEIGHTS = ("backbone", "items", "pooling", "backbone_sha256", "items_sha256")
FILE = ".npz"
# What numpy and zipfile raise of a file from anyone.
_UNREADABLE = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, RuntimeError),
    *(MemoryError, zipfile.BadZipFile, zlib.error),
)
# Of models that stay with the mean nothing is said here; see docs/backbones.md.
CHOSEN: dict[str, Pooling] = {SMOLLM2_SHA256: "last"}


class Sources(NamedTuple):
    """What a model is built from.

    Attributes
    ----------
    reader : BackboneSource
    items : BackboneSource or None
        Of item vectors, where `model.items` names something; of a file its path and SHA-256.
    """

    reader: BackboneSource
    items: BackboneSource | None

    def identified(self, model: ModelConfig) -> ModelConfig:
        """The settings with the digests of what they name."""
        items = self.items.digest if self.items else None
        return dataclasses.replace(model, backbone_sha256=self.reader.digest, items_sha256=items)

    def digests(self, model: ModelConfig) -> list[tuple[str, str, str | None]]:
        """(setting, here, stated) of everything that the settings name."""
        found: list[tuple[str, str, str | None]] = [
            ("backbone", self.reader.digest, model.backbone_sha256)
        ]
        if self.items:
            found.append(("items", self.items.digest, model.items_sha256))
        return found


def find(model: ModelConfig) -> Sources:
    """Find what the settings name, without loading it.

    Raises
    ------
    ModelError
        As `resolve`; if a file of vectors is missing.
    """
    reader = resolve(model.backbone)
    if model.items is None:
        return Sources(reader, None)
    if not model.items.endswith(FILE):
        try:
            return Sources(reader, resolve(model.items))
        except ModelError as error:
            raise ModelError(f"model.items (--items): {error}, or a file {FILE}") from None
    file = Path(model.items)
    try:
        return Sources(reader, BackboneSource(str(file.resolve()), None, sha256(file)))
    except OSError as error:
        raise ModelError(
            f"model.items (--items) = {model.items}: cannot be read ({error.strerror})"
        ) from None


def vectors_of(catalogue: Catalogue, sources: Sources, model: ModelConfig) -> Vectors:
    """The public table of a catalogue.

    Returns
    -------
    ndarray float32 [items, width + 104]
        As `shared.model.items.item_vectors`.

    Raises
    ------
    ModelError
        If the encoder cannot be loaded, or a file is damaged or lacks an item.
    """
    source = sources.items or sources.reader
    if source.location.endswith(FILE):
        stated = _from_file(Path(source.location), catalogue)
        return beside_attributes(finished(stated, "mean"), catalogue.described)
    pooling = model.pooling or CHOSEN.get(source.digest, "mean")
    return item_vectors(catalogue.described, source, pooling=pooling)


def encoder_of(model: ModelConfig) -> Callable[[Sequence[str]], Vectors] | None:
    """What encodes items, for other texts: pooled states [texts, hidden]; None of a file.

    Raises
    ------
    ModelError
        As `find`.
    """
    sources = find(model)
    source = sources.items or sources.reader
    if source.location.endswith(FILE):
        return None
    pooling = model.pooling or CHOSEN.get(source.digest, "mean")
    return lambda texts: text_states(texts, source, pooling)


def build(
    catalogue: Catalogue, sources: Sources, model: ModelConfig, start: Start | None = None
) -> Recommender:
    """The recommender of a catalogue, with a fresh adapter, or one that begins from `start`."""
    vectors = vectors_of(catalogue, sources, model)
    return build_recommender(sources.reader, vectors, model, catalogue.described, start)


def _from_file(file: Path, catalogue: Catalogue) -> Vectors:
    """The file's vectors in the catalogue's order; it may hold other items too."""
    try:
        check_file(file)
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            ids, vectors = _arrays(archive)
    except _UNREADABLE:
        raise _mistake(file, "is no archive of these two") from None
    places = {str(name): place for place, name in enumerate(ids)}
    if len(places) < len(ids):
        raise _mistake(file, "names an item twice")
    missing = [name for name in catalogue.item_ids if name not in places]
    if missing:
        raise _mistake(file, f"lacks {missing[0]!r} and {len(missing) - 1} other items")
    chosen: Vectors = vectors[[places[name] for name in catalogue.item_ids]].astype(np.float32)
    if not np.isfinite(chosen).all():
        raise _mistake(file, "holds a number that is not finite")
    return chosen


def _arrays(archive: NpzFile) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.generic]]:
    ids, vectors = archive["items"], archive["vectors"]
    good = ids.ndim == 1 and vectors.ndim == 2 and vectors.dtype.kind in "fiu"
    if not (good and len(ids) == len(vectors) and vectors.shape[1]):
        raise ValueError("shapes")
    return ids, vectors


def _mistake(file: Path, what: str) -> ModelError:
    return ModelError(
        f"model.items (--items) = {file}: {what}; expected what "
        "numpy.savez(file, items=identifiers, vectors=matrix) writes, a row for every item"
    )
