"""Public columns read off the items' texts, as factors whose inner products say how like items are.

    categories            c_i . c_j                        share of categories in common, in [0, 1]
    years                 exp(-|y_i - y_j| / 5)
    categories x years    (c_i . c_j) exp(-|y_i - y_j| / 5)

c_i has 1 / sqrt(k) in each of the k categories of item i. Where an item has no category, or no
year, its kernels are zero. The texts are public, so nothing here costs privacy.

Each kernel is factored and cut to the leading eigenvectors over the catalogue: F F' is the best
approximation of its rank, and exact where nothing is cut. Signs and rotations of the columns differ
between machines; inner products do not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WIDTHS = {"categories": 32, "years": 8, "categories x years": 64}  # columns of each kernel's factor
EXTRA = sum(WIDTHS.values())

_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_FEWEST, _MOST = 5, 500  # items of a category; categories
_SCALE = 5.0  # years, over which the likeness of two falls to 1/e
_FULL_CATEGORIES, _FULL_YEARS = 64, 16  # columns that enter the product of both
_AT_ONCE = 4096  # items
_APART = 1e-6  # relative; splits eigenvalues that are equal, everywhere in the same way

Matrix = npt.NDArray[np.float64]
Years = npt.NDArray[np.int64]


def attribute_factors(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The three factors side by side, in the order of `WIDTHS`.

    Parameters
    ----------
    texts : sequence of str, length [items]
        Title, then after the first ". " phrases between full stops and commas: "Alien (1979).
        Horror, Science fiction".

    Returns
    -------
    ndarray float32 [items, 104]
        Zero where a catalogue, or an item, has none.
    """
    own = categories_of(texts)
    categories = own.times(_leading(own.gram(), _FULL_CATEGORIES))
    at, years = _year_factor(years_of(texts))
    parts = (categories, years[at], _product_factor(categories, at, years))
    table = np.zeros((len(texts), EXTRA), dtype=np.float32)
    first = 0
    for width, part in zip(WIDTHS.values(), parts, strict=True):
        kept = part[:, :width]
        table[:, first : first + kept.shape[1]] = kept
        first += width
    return table


def years_of(texts: Sequence[str]) -> Years:
    """The last year, from 1900 to 2099, that each text names, int64 [items]; 0 for none."""
    found = (_YEAR.findall(text) for text in texts)
    return np.array([int(years[-1]) if years else 0 for years in found], dtype=np.int64)


@dataclass(frozen=True)
class Categories:
    """Which categories items have: the rows c_i of a sparse matrix [items, categories].

    Attributes
    ----------
    names : tuple of str
        Most frequent first.
    columns : int64 [entries]
        Those of each item together.
    sizes : int64 [items]
        How many each item has.
    """

    names: tuple[str, ...]
    columns: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    @property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.cumsum(self.sizes) - self.sizes

    def times(self, matrix: Matrix) -> Matrix:
        """Rows of unit length, or zero, times [categories, n] -> [items, n]."""
        found = np.zeros((len(self.sizes), matrix.shape[1]))
        some = self.sizes > 0
        if some.any():
            sums = np.add.reduceat(matrix[self.columns], self._starts[some])
            found[some] = sums * self.sizes[some, None] ** -0.5
        return found

    def gram(self) -> Matrix:
        """What categories have in common, [categories, categories]: the sum of c_i c_i'."""
        n = len(self.names)
        total = np.zeros(n * n)
        for first in range(0, len(self.sizes), _AT_ONCE):
            sizes = self.sizes[first : first + _AT_ONCE]
            each = np.repeat(np.arange(len(sizes)), sizes**2)  # item of each pair
            inside = np.arange(len(each)) - np.repeat(np.cumsum(sizes**2) - sizes**2, sizes**2)
            start = self._starts[first : first + _AT_ONCE][each]
            one, other = (self.columns[start + part] for part in divmod(inside, sizes[each]))
            total += np.bincount(one * n + other, 1 / sizes[each], n * n)
        return total.reshape(n, n)


def categories_of(texts: Sequence[str]) -> Categories:
    """The phrases that at least 5 items have; of more than 500 the most frequent."""
    phrases = [phrases_of(text.partition(". ")[2]) for text in texts]
    counts = Counter(phrase for some in phrases for phrase in some)
    frequent = sorted((-n, phrase) for phrase, n in counts.items() if n >= _FEWEST)[:_MOST]
    column = {phrase: place for place, (_, phrase) in enumerate(frequent)}
    own = [[column[phrase] for phrase in some if phrase in column] for some in phrases]
    columns = np.array([place for some in own for place in sorted(some)], dtype=np.int64)
    return Categories(tuple(column), columns, np.array([len(some) for some in own], np.int64))


def phrases_of(about: str) -> set[str]:
    """What a text says after its title, between full stops and commas, in lower case."""
    return {part.strip() for part in re.split("[.,]", about.lower())} - {""}


def _year_factor(years: Years) -> tuple[npt.NDArray[np.int64], Matrix]:
    """Each item's row of a factor over the distinct years, the last of which is no year at all.

    Returns
    -------
    at : int64 [items]
    factor : float64 [distinct years + 1, columns]
    """
    grid, items = np.unique(years[years > 0], return_counts=True)
    at = np.where(years > 0, np.searchsorted(grid, years), len(grid))
    kernel = np.exp(-np.abs(grid[:, None] - grid) / _SCALE)
    weight = np.sqrt(items / max(items.sum(), 1))  # the kernel over items, not over years
    shaped = weight[:, None] * kernel * weight
    columns = _leading(shaped, _FULL_YEARS)  # K w^2 u = l u with u = v / w, so F = K w v / sqrt(l)
    lengths = np.einsum("yc,yz,zc->c", columns, shaped, columns)
    factor = kernel @ (weight[:, None] * columns) / np.sqrt(lengths)
    return at, np.concatenate([factor, np.zeros((1, factor.shape[1]))])


def _product_factor(categories: Matrix, at: npt.NDArray[np.int64], years: Matrix) -> Matrix:
    """Rows c_i (x) y_i in their leading directions, a year at a time: never all of them at once."""
    c, y = categories.shape[1], years.shape[1]
    if not c * y:
        return np.zeros((len(categories), 0))
    of_year = [np.flatnonzero(at == place) for place in range(len(years) - 1)]
    squares = np.array([categories[some].T @ categories[some] for some in of_year])
    squares = squares.reshape(len(of_year), c * c)
    pairs = (years[:-1, :, None] * years[:-1, None]).reshape(len(of_year), y * y)
    gram = (squares.T @ pairs).reshape(c, c, y, y).transpose(0, 2, 1, 3).reshape(c * y, c * y)
    columns = _leading(gram, WIDTHS["categories x years"]).reshape(c, y, -1)
    found = np.zeros((len(categories), columns.shape[2]))
    for some, year in zip(of_year, years, strict=False):
        found[some] = categories[some] @ np.einsum("cyk,y->ck", columns, year)
    return found


def _leading(gram: Matrix, most: int) -> Matrix:
    """Orthonormal eigenvectors [n, at most `most`] of a Gram matrix [n, n], largest first.

    Those of eigenvalue zero are dropped. Where the last that is kept and the first that is cut
    would be equal, machines could choose differently; so each coordinate counts for a little less
    than the one before it.
    """
    if not len(gram):
        return np.zeros((0, 0))
    count = 1 - _APART * np.arange(len(gram)) / len(gram)
    values, vectors = np.linalg.eigh(count[:, None] * gram * count)
    kept = np.argsort(-values, kind="stable")[:most]
    return np.asarray(vectors[:, kept[values[kept] > 1e-9 * values[kept[0]]]])
