"""What two items have to do with each other, from how often they are met together.

    L = S^-1/2 R S^-1/2 / a             how much more than by chance (lift)
    W = -P / diag(P), diagonal 0        what each item adds to the prediction of another (EASE)
        P = (R + a s s' + D + lambda I)^-1,    D = a s sum(s) / 15,    lambda = 60 mean(D)
    A = L + .6 (lambda / a) (W - 1 s'W / sum(s))

R is the sum of contributions less what popularity alone gives, a s s', each in units of its own.
Lift sees two items alone; EASE, a ridge regression of every item on all others, takes out what a
third explains. Times lambda / a it is in the same units of chance, as W ~ (R + a s s') / lambda
where the ridge is large; what any history would give an item is left to the item's bias. D is what
an item has together with itself, which nobody sends: items within 8 places count exp(-1/8),
exp(-2/8), ... before and after, 15 together, and itself 1. The ridge is raised until P exists,
where noise has left R with eigenvalues below its negative.

The constants were chosen by validation on MovieLens-100K, MovieLens-latest-small and people of
other logs (docs/research/together.md).

References
----------
Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data. https://arxiv.org/abs/1905.03375
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse.linalg import svds

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

_NEAR = 15.0  # sum of exp(-|d| / 8) over all d but 0
_RIDGE = 60.0  # in units of the mean of D
_EASE = 0.6  # what W weighs beside lift
_FULL = 400  # items; up to so many all singular vectors are computed


def item_tables(rest: Matrix, scale: Vector, chance: float, rank: int) -> tuple[Matrix, Matrix]:
    """A as two tables, in = U s^1/2 and out = V s^1/2 of its leading singular vectors.

    Parameters
    ----------
    rest : float64 [M, M]
        R, symmetric; its diagonal is not read.
    scale : float64 [M]
        s, all > 0.
    chance : float
        a > 0.
    rank : int
        >= 1.

    Returns
    -------
    float64 [M, rank], twice
    """
    np.fill_diagonal(rest, 0.0)
    lift = rest / np.sqrt(np.outer(scale, scale)) / chance
    return _leading(lift + _EASE * _ease(rest, scale, chance), rank)


def _ease(rest: Matrix, scale: Vector, chance: float) -> Matrix:
    """W in units of chance, less what any history gives."""
    popular = chance * np.outer(scale, scale)
    np.fill_diagonal(popular, 0.0)
    own = chance * scale * scale.sum() / _NEAR
    ridge = _RIDGE * float(own.mean())
    inverse = _inverse(rest + popular + np.diag(own), ridge)
    weights: Matrix = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    beyond: Matrix = (weights - scale @ weights / scale.sum()) * (ridge / chance)
    return beyond


def _inverse(gram: Matrix, ridge: float) -> Matrix:
    """(G + lambda I)^-1 with the ridge, or the first of its doubles that makes it definite."""
    identity = np.eye(len(gram))
    while True:
        try:
            factor = cho_factor(gram + ridge * identity, lower=True)
        except LinAlgError:
            ridge *= 2
            continue
        found: Matrix = cho_solve(factor, identity)
        return found


def _leading(matrix: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    count = len(matrix)
    if count <= max(_FULL, rank):
        left, values, right = np.linalg.svd(matrix)
    else:
        left, values, right = svds(matrix, k=rank, v0=np.ones(count) / count**0.5)
        left, values, right = left[:, ::-1], values[::-1], right[::-1]
    kept = min(rank, count)
    given, taken = np.zeros((count, rank)), np.zeros((count, rank))
    root = np.sqrt(values[:kept])
    given[:, :kept], taken[:, :kept] = left[:, :kept] * root, right[:kept].T * root
    return given, taken
