"""Private alternating least squares with an adaptive allocation of everyone's budget.

Implicit feedback: the loss is the sum over training interactions of (1 - <u, v>)^2, plus a small
weight on <u, v>^2 of every pair, plus ridges. A person's embedding u is solved on their device and
never leaves it; the items' are solved from noised sums over people. Each person adds to

    histogram  [items]        1 / sqrt(n) at each of their n training items
    Gramian    [r, r]         u u'
    local      [items, r, r]  w_i u u'   at each of their items i
    right      [items, r]     w_i u      at each of their items i

with |u| = 1 and w_i proportional to c_i^exponent, c the released histogram, sum w_i^2 = 1. So each
contribution has L2 norm at most 1, and what is present or all zero moves a sum by at most 1.

References
----------
Chien, Jain, Krichene, Rendle, Song, Thakurta, Zhang. Private Alternating Least Squares. ICML 2021.
https://proceedings.mlr.press/v139/chien21a.html
Krichene, Jain, Song, Sundararajan, Thakurta, Zhang. Multi-Task Differential Privacy Under
Distribution Skew. ICML 2023. https://arxiv.org/abs/2302.07975
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from dp_accounting import DpEvent, GaussianDpEvent, NonPrivateDpEvent
from scipy.sparse import csr_matrix, diags

from peers.anchors import Rows, Score, Table


@dataclass(frozen=True)
class Settings:
    """What is chosen on the validation items of other people.

    Attributes
    ----------
    rank, steps : int
        Of the embeddings; how often all are solved anew.
    exponent : float
        Of the histogram in a person's weights, <= 0: below 0 rare items get more of the budget.
    unobserved, user_unobserved : float
        Weight of every pair in the loss, solving items and people.
    ridge, user_ridge : float
        Of the items' embeddings, a person; of people's, relative to the items' own second moments.
    ridge_exponent : float
        Of the histogram in an item's ridge.
    head : float
        Share of the items, by the histogram, that get an embedding; others rank by it below them.
    counts_share : float
        Of the squared signal-to-noise ratio, for the histogram; steps get equal parts of the rest.
    gramian_share, local_share : float
        Of a step's part; local 0: the Gramian alone stands for it. The rest is the right side's.
    """

    rank: int = 8
    steps: int = 2
    exponent: float = -0.25
    unobserved: float = 0.1
    user_unobserved: float = 1.0
    ridge: float = 0.1
    user_ridge: float = 0.01
    ridge_exponent: float = 0.0
    head: float = 0.5
    counts_share: float = 0.1
    gramian_share: float = 0.01
    local_share: float = 0.1


GRID: dict[str, tuple[float, ...]] = {
    "rank": (2, 4, 8, 16, 32),
    "steps": (1, 2, 3, 5, 8),
    "exponent": (0.0, -0.25, -0.5, -1.0),
    "unobserved": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    "user_unobserved": (0.1, 0.3, 1.0, 3.0, 10.0),
    "ridge": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    "user_ridge": (1e-4, 1e-3, 1e-2, 1e-1),
    "ridge_exponent": (0.0, -0.5, -1.0),
    "head": (0.1, 0.25, 0.5, 1.0),
    "counts_share": (0.03, 0.1, 0.3),
    "gramian_share": (0.003, 0.01, 0.05),
    "local_share": (0.0, 0.1, 0.3),
}


@dataclass
class Noise:
    """Adds noise to sums that one person moves by at most 1, and keeps what that costs.

    Attributes
    ----------
    multiplier : float
        z of a single release that would spend everything; one with a share of it gets
        z / sqrt(share). 0: no noise.
    events : list
        What was released, for the accountants.
    """

    multiplier: float
    rng: np.random.Generator
    events: list[tuple[DpEvent, int]] = field(default_factory=list)

    def __call__(self, total: Table, share: float) -> Table:
        """The sum with its noise."""
        z = self.multiplier * share**-0.5
        self.events.append((GaussianDpEvent(z) if z else NonPrivateDpEvent(), 1))
        return total + z * self.rng.normal(size=total.shape)


def weights(train: csr_matrix, exponent: float, counts: Table) -> csr_matrix:
    """Everyone's weights of their own items, each person's of L2 norm 1 (or 0): [people, items]."""
    raw = (train @ diags(counts**exponent)).tocsr()
    norms = np.sqrt(np.asarray(raw.multiply(raw).sum(axis=1)).ravel())
    return (diags(1 / np.where(norms > 0, norms, 1)) @ raw).tocsr()


def histogram(train: csr_matrix) -> Table:
    """Sum over people of 1 / sqrt(n) at each of their items: [items]."""
    return np.asarray(weights(train, 0.0, np.ones(train.shape[1])).sum(axis=0)).ravel()


def statistics(users: Table, share: csr_matrix) -> tuple[Table, Table, Table]:
    """Gramian [r, r], local Gramians [items, r, r] and right sides [items, r] of a step.

    Parameters
    ----------
    users : float64 [people, r]
        Each of length 1, or 0.
    share : csr_matrix [people, items]
        As `weights` gives them.
    """
    rank = users.shape[1]
    return users.T @ users, (share.T @ _outer(users)).reshape(-1, rank, rank), share.T @ users


def solved(seen: csr_matrix, items: Table, chosen: Settings) -> Table:
    """What devices do: embeddings of people who met these items, [people, r]."""
    rank, gramian = items.shape[1], items.T @ items
    ridge = chosen.user_ridge * np.trace(gramian) / rank + 1e-12
    left = (seen @ _outer(items)).reshape(-1, rank, rank) + chosen.user_unobserved * gramian
    return np.linalg.solve(left + ridge * np.eye(rank), (seen @ items)[..., None])[..., 0]


def train_items(train: csr_matrix, chosen: Settings, noise: Noise) -> Score:
    """The items' embeddings from noised sums, as a way to score."""
    people, items = train.shape
    counts = np.maximum(noise(histogram(train), chosen.counts_share), 0) + 1
    head = np.zeros(items)
    head[np.argsort(-counts)[: max(1, int(chosen.head * items))]] = 1
    seen = (train @ diags(head)).tocsr()
    seen.eliminate_zeros()
    share = weights(seen, chosen.exponent, counts)
    ridge = chosen.ridge * people / chosen.rank * (counts / counts.mean()) ** chosen.ridge_exponent
    ridges = ridge[:, None, None] * np.eye(chosen.rank)
    part = (1 - chosen.counts_share) / chosen.steps
    vectors = noise.rng.normal(size=(items, chosen.rank)) * head[:, None]
    for _ in range(chosen.steps):
        gramian, local, right = statistics(unit(solved(seen, vectors, chosen)), share)
        left = noise(gramian, part * chosen.gramian_share)
        left = chosen.unobserved * (_positive(left) if noise.multiplier else left) + ridges
        if chosen.local_share:
            local = noise(local, part * chosen.local_share)
            left = left + (_positive(local) if noise.multiplier else local)
        right = noise(right, part * (1 - chosen.gramian_share - chosen.local_share))
        vectors = np.linalg.solve(left, right[..., None])[..., 0] * head[:, None]

    def score(contexts: csr_matrix, people: Rows) -> Table:
        found = solved(contexts @ diags(head), vectors, chosen) @ vectors.T
        below = found.min(axis=1, keepdims=True) - 1 + counts / counts.max() - 1
        return np.where(head, found, below)

    return score


def choose(cost: Callable[[Settings], float], start: Settings, passes: int) -> Settings:
    """Settings of `GRID` by coordinate ascent: one at a time, as long as a pass gains anything."""
    best, value = start, cost(start)
    for _ in range(passes):
        before = best
        for name, tried in GRID.items():
            for each in tried:
                other = replace(best, **{name: each})
                if other != best and (found := cost(other)) > value:
                    best, value = other, found
        if best == before:
            break
    return best


def unit(rows: Table) -> Table:
    """Rows of length 1; what is 0 or not a number is 0."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    good = np.isfinite(largest) & (largest > 0)
    scaled = np.divide(rows, largest, out=np.zeros_like(rows), where=good)  # no square overflows
    return scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1)


def _outer(rows: Table) -> Table:
    return np.einsum("ni,nj->nij", rows, rows).reshape(len(rows), -1)


def _positive(matrices: Table) -> Table:
    """The nearest symmetric matrices without negative eigenvalues."""
    values, vectors = np.linalg.eigh((matrices + matrices.swapaxes(-1, -2)) / 2)
    return (vectors * np.maximum(values, 0)[..., None, :]) @ vectors.swapaxes(-1, -2)
