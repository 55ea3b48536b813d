"""A rating as a sum: the mean, a person's and an item's number, traits and factors.

    r(u, i) = m + b_u + b_i + x_u . c_i + p_u . q_i

x_u is frozen: what is known of a person. All else is found by alternating weighted ridge
regressions, each in closed form (weighted ALS: Hu, Koren and Volinsky 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulations.causal.ratings import Floats

_PASSES = 8


@dataclass(frozen=True)
class Shape:
    """How much the model may learn.

    Attributes
    ----------
    rank : int
        Of the factors, >= 0.
    ridge : float
        On factors and numbers, > 0, in units of a rating's mean weight.
    traits : float
        On the items' coefficients of people's traits, > 0.
    """

    rank: int
    ridge: float
    traits: float


def fitted(y: Floats, weights: Floats, people: Floats, shape: Shape, seed: int) -> Floats:
    """Predictions of all cells, [people, items].

    Parameters
    ----------
    y, weights : float64 [people, items]
        What is fitted, and how much each cell counts, >= 0 and not all 0.
    people : float64 [people, features]
        Of mean 0.
    shape : Shape
    seed : int
        Of the factors' start.
    """
    n, features, rank = len(y), people.shape[1], shape.rank
    mean = float((weights * y).sum() / weights.sum())
    left = y - mean
    rng = np.random.default_rng(seed)
    own = np.hstack([rng.normal(0, 0.1, (n, rank)), np.zeros((n, 1))])  # p_u, b_u
    of_items = np.array([shape.traits] * features + [shape.ridge] * (rank + 1))
    of_people = np.full(rank + 1, shape.ridge)
    found = np.full(y.shape, mean)
    for _ in range(_PASSES):
        seen = np.hstack([people, own[:, :rank], np.ones((n, 1))])
        items = _ridge(seen, weights.T, (left - own[:, rank:]).T, of_items)  # c_i, q_i, b_i
        traits = people @ items[:, :features].T
        known = traits + items[:, -1]
        loads = np.hstack([items[:, features:-1], np.ones((len(items), 1))])  # q_i, 1
        own = _ridge(loads, weights, left - known, of_people)
        found = mean + known + own @ loads.T
    return found


def _ridge(x: Floats, weights: Floats, y: Floats, ridges: Floats) -> Floats:
    """One weighted ridge regression for each row of y [r, c] on x [c, f], [r, f]."""
    squares = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    gram = (weights @ squares).reshape(len(y), x.shape[1], x.shape[1]) + np.diag(ridges)
    return np.asarray(np.linalg.solve(gram, ((weights * y) @ x)[..., None])[..., 0])
