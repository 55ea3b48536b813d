"""Which items people have together: what one person contributes, in public coordinates.

    k_u[s, t] = sum over places i, j of one's history, items s != t, of exp(-|i - j| / 8)
    B_u       = Q' S^-1/4 k_u S^-1/4 Q          cut to the coordinates that are kept
    x_u       = B_u / ||B_u||                   of length one however long the history is

S are the released counts of the items, and Q the leading eigenvectors of a prior that knows them
and the items' public texts, S^1/2 (.3 texts + .7 I) S^1/2: what people have together is largest
there, so few coordinates hold most of it. They are post-processing of a release, and travel with
the request, as eigenvectors differ from machine to machine. Whatever is sent in their place,
nobody's contribution is longer than one.

Where nothing is noised, each pair of items is a coordinate of its own: B_u = k_u above its
diagonal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.data.split import training_history
from shared.errors import ProtocolError
from shared.privacy.contribution.clipping import L2Clip

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

# One user's share has length one however long the history is: all of the sensitivity, always.
MOMENTS_CLIP = L2Clip(1.0)

ITEMS, LEADING, COORDINATES = 1500, 700, 25_000  # at most
EXACT = 4000  # items at most, where each of their pairs is a coordinate
_LAST = 400  # places of a history, the last ones
_REACH = 8.0  # places, over which two that are further apart count 1/e as much
_PUBLIC, _TEXT = 0.3, 0.5  # of the prior; and of that
_LEAST = 1e-12  # of an eigenvalue

_TYPES = {"items": np.int32, "first": np.int32, "second": np.int32}


@dataclass(frozen=True)
class Basis:
    """The public coordinates that contributions are given in.

    Attributes
    ----------
    items : int32 [M]
        Those with the largest released counts, at most 1,500.
    scale : float32 [M]
        s: their counts, of mean one.
    leading : float32 [R]
        Eigenvalues of the prior, the largest first, at most 700.
    vectors : float32 [M, R]
        Q.
    first, second : int32 [K]
        Coordinate c is entry (first, second) of B, first <= second: those with the largest
        products of eigenvalues, at most 25,000.

    Where each pair of the items, at most 4,000 of them, is a coordinate, `leading`, `first` and
    `second` are empty, and `vectors` is [M, 0].
    """

    items: npt.NDArray[np.int32]
    scale: npt.NDArray[np.float32]
    leading: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]
    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]

    @property
    def exact(self) -> bool:
        """Whether coordinates are pairs of items themselves."""
        return not len(self.leading)

    @property
    def dim(self) -> int:
        """K."""
        count = len(self.items)
        return count * (count - 1) // 2 if self.exact else len(self.first)

    @property
    def entries(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Rows and columns of the coordinates [K] in B."""
        if self.exact:
            return np.triu_indices(len(self.items), 1)
        return self.first.astype(np.intp), self.second.astype(np.intp)

    @property
    def weight(self) -> npt.NDArray[np.float32]:
        """What an entry of B counts in its coordinate [K]: off the diagonal it stands for two."""
        if self.exact:
            return np.full(self.dim, np.sqrt(2), dtype=np.float32)
        return np.where(self.first == self.second, 1, np.sqrt(2)).astype(np.float32)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As it travels and is kept."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Basis:
        """What `arrays` gave.

        Raises
        ------
        ProtocolError
            If one is missing, or of another shape or type, or names what is not there.
        """
        try:
            own = cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except KeyError as error:
            raise ProtocolError(f"moments: {error} is missing; versions differ") from None
        count, leading, dim = len(own.items), len(own.leading), len(own.first)
        shapes = {"vectors": (count, leading), "scale": (count,), "leading": (leading,)}
        for name, array in own.arrays().items():
            wanted = _TYPES.get(name, np.float32)
            shape = shapes.get(name, (count if name == "items" else dim,))
            if array.dtype != wanted or array.shape != shape:
                raise ProtocolError(f"moments: {name}: expected {np.dtype(wanted)} {shape}")
        if own.exact and (count > EXACT or dim):
            raise ProtocolError(f"moments: pairs of {count} items: expected at most {EXACT}")
        for name in ("first", "second"):
            index = getattr(own, name)
            if index.size and not (index.min() >= 0 and index.max() < leading):
                raise ProtocolError(f"moments: {name}: expected numbers below {leading}")
        return own


def moments_size(items: int, exact: bool = False) -> tuple[int, int, int]:
    """M, R and K of a catalogue of so many items; exact where nothing is noised, with an R of 0."""
    if exact:
        count = min(EXACT, items)
        return count, 0, count * (count - 1) // 2
    count = min(ITEMS, items)
    leading = min(LEADING, count)
    return count, leading, min(COORDINATES, leading * (leading + 1) // 2)


def moments_schema(dim: int) -> str:
    """The schema of contributions in so many coordinates."""
    return f"moments:{dim}"


def moments_basis(counts: Vector, noise: float, public: Mapping[str, Matrix]) -> Basis:
    """The coordinates that follow from a released histogram and public texts.

    Parameters
    ----------
    counts : float64 [items]
        The noised sum of histograms.
    noise : float
        Its noise multiplier, >= 0.
    public : mapping of str to float [items, width]
        Factors of the items whose inner products are kernels: "text", and those of
        `shared.data.attributes`; zero, or absent, where a catalogue has none.
    """
    count, leading, dim = moments_size(len(counts))
    top, scale = popular_items(counts, noise)
    prior = _PUBLIC * _kernel(public, top) + (1 - _PUBLIC) * np.eye(count)
    prior *= np.sqrt(scale)[:, None] * np.sqrt(scale)
    values, vectors = np.linalg.eigh(prior)  # ascending
    values, vectors = np.maximum(values[::-1][:leading], _LEAST), vectors[:, ::-1][:, :leading]
    first, second = np.triu_indices(leading)
    kept = np.sort(np.argsort(-values[first] * values[second], kind="stable")[:dim])
    return Basis(
        top.astype(np.int32),
        scale.astype(np.float32),
        values.astype(np.float32),
        np.ascontiguousarray(vectors, dtype=np.float32),
        first[kept].astype(np.int32),
        second[kept].astype(np.int32),
    )


def exact_basis(counts: Vector) -> Basis:
    """The coordinates of a run that noises nothing: the pairs of the items chosen most.

    Parameters
    ----------
    counts : float64 [items]
        The sum of histograms.
    """
    top, scale = popular_items(counts, 0.0, exact=True)
    none = np.zeros(0, dtype=np.int32)
    return Basis(
        top.astype(np.int32),
        scale.astype(np.float32),
        np.zeros(0, dtype=np.float32),
        np.zeros((len(top), 0), dtype=np.float32),
        none,
        none,
    )


def popular_items(
    counts: Vector, noise: float, exact: bool = False
) -> tuple[npt.NDArray[np.int64], Vector]:
    """The items of a basis, int64 [M], and their scale [M]; parameters as of `moments_basis`."""
    top = np.argsort(-counts, kind="stable")[: moments_size(len(counts), exact)[0]]
    scale = np.maximum(counts[top], 0) + 1 + noise
    return top, scale / scale.mean()


def _kernel(public: Mapping[str, Matrix], top: npt.NDArray[np.int64]) -> Matrix:
    """How like items are in what is public [M, M]; a catalogue without a column drops its term."""

    def products(*names: str) -> Matrix:
        for name in names:
            rows = np.asarray(public.get(name, np.zeros((0, 0))), dtype=np.float64)
            if rows.any():
                return rows[top] @ rows[top].T
        return np.zeros((len(top), len(top)))

    attributes = products("categories x years", "categories")
    return _TEXT * products("text") + (1 - _TEXT) * attributes


def user_moments(history: npt.NDArray[np.int64], basis: Basis) -> npt.NDArray[np.float32]:
    """One user's contribution, float32 [K], of L2 norm 1, or 0 where no two items are known.

    Parameters
    ----------
    history : int64 [n]
    basis : Basis
        From anyone: the bound does not rest on it.
    """
    import torch  # where something is clipped, not where plans ask for the sensitivity

    found = np.zeros(basis.dim, dtype=np.float32)
    places, items = _known(training_history(history), basis)
    if len(places) >= 2:
        near = np.exp(-np.abs(places[:, None] - places) / _REACH)
        near[items[:, None] == items] = 0  # nor an item with itself
        raw = _pairs(near, items, basis) if basis.exact else _shaped(near, items, basis)
        with np.errstate(all="ignore"):  # of a basis that is none
            length = float(np.linalg.norm(raw))
            if length > 0:
                found = (raw / length).astype(np.float32)
    clipped: npt.NDArray[np.float32] = MOMENTS_CLIP(torch.from_numpy(found)).numpy()
    return clipped


def _shaped(near: Matrix, items: npt.NDArray[np.int64], basis: Basis) -> Vector:
    """The coordinates of B = Q' S^-1/4 k S^-1/4 Q."""
    with np.errstate(all="ignore"):  # of a basis that is none
        rows = basis.vectors[items] * basis.scale[items, None] ** -0.25
        entries = rows.T @ (near.astype(np.float32) @ rows)
        raw: Vector = (entries[basis.first, basis.second] * basis.weight).astype(np.float64)
    return raw


def _pairs(near: Matrix, items: npt.NDArray[np.int64], basis: Basis) -> Vector:
    """Those of k itself, above its diagonal."""
    count = len(basis.items)
    low = np.minimum(items[:, None], items)
    high = np.maximum(items[:, None], items)
    above = low < high  # each pair of places twice, as k sums it
    place = low * (2 * count - low - 1) // 2 + high - low - 1
    raw = np.zeros(basis.dim)
    np.add.at(raw, place[above], near[above] / np.sqrt(2))  # k counts it once, and sqrt(2) of it
    return raw


def _known(
    mine: npt.NDArray[np.int64], basis: Basis
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The last places with an item of the basis, and which of its items is there."""
    if not len(basis.items):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    order = np.argsort(basis.items, kind="stable")
    at = np.minimum(np.searchsorted(basis.items[order], mine), len(order) - 1)
    items = order[at]
    places = np.flatnonzero(basis.items[items] == mine)[-_LAST:]
    return places, items[places]
