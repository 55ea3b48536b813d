"""A log as the product splits and ranks it, and what needs no privacy to be compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.sparse import csr_matrix

from client.training.evaluate import target_ranks
from shared.config import DataConfig
from shared.data.split import Phase, held_out, training_history
from shared.metrics import ranking_metrics
from simulations.world.sources import open_population

Table = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Score = Callable[[csr_matrix, Rows], Table]
"""Contexts [people, items], 1 where met, and who they are, to scores [people, items]."""

METRICS = ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10")
NEGATIVES = 99
LAMBDAS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
_AT_ONCE = 512  # people whose scores over the catalogue are held


class Log:
    """Histories of a population, what of them trains, and the question each person is asked.

    Parameters
    ----------
    spec : str
        As `--data`.
    users : int, optional
        As `--users`.
    """

    def __init__(self, spec: str, users: int | None = None) -> None:
        self._population = open_population(DataConfig(spec=spec, users=users))
        self.name = self._population.name
        self.items = len(self._population.catalogue)
        self._histories = [self._population.history(user) for user in range(len(self))]

    def __len__(self) -> int:
        return len(self._population)

    @cached_property
    def train(self) -> csr_matrix:
        """1 where a person has a training interaction, float64 [people, items]."""
        return met([training_history(history) for history in self._histories], self.items)

    @cached_property
    def everything(self) -> csr_matrix:
        """The same with the held-out interactions: nobody may train on it."""
        return met(self._histories, self.items)

    def metrics(self, phase: Phase, score: Score) -> dict[str, float]:
        """`METRICS` and their standard errors over people, by the product's own ranking."""
        keys, ranks = self._population.keys, []
        cases = [held_out(history, phase, self.items) for history in self._histories]
        asked = [(user, case) for user, case in enumerate(cases) if case is not None]
        for start in range(0, len(asked), _AT_ONCE):
            some = asked[start : start + _AT_ONCE]
            contexts = met([case.context for _, case in some], self.items)
            scores = score(contexts, np.array([user for user, _ in some]))
            ranks += [
                target_ranks(row, self._histories[user], case, NEGATIVES, keys[user])
                for row, (user, case) in zip(scores, some, strict=True)
            ]
        found = ranking_metrics(*zip(*ranks, strict=True))
        return {name: found[name] for each in METRICS for name in (each, f"{each}_se")}


def met(histories: Iterable[Rows], items: int) -> csr_matrix:
    """Binary float64 [people, items]."""
    rows = list(histories)
    ends = np.cumsum([0, *map(len, rows)])
    where = np.concatenate(rows)
    return csr_matrix((np.ones(len(where)), where, ends), shape=(len(rows), items))


def popularity(train: csr_matrix) -> Score:
    """By how many people trained on an item."""
    counts = np.asarray(train.sum(axis=0)).ravel()
    return lambda contexts, people: np.broadcast_to(counts, contexts.shape)


def ease(train: csr_matrix) -> Callable[[float], Score]:
    """EASE at a ridge lambda, from one eigendecomposition of the smaller Gram matrix.

    With X = U S V' the inverse is P = (I - V diag(s^2 / (s^2 + lambda)) V') / lambda, exactly, and
    B = I - P diag(1 / diag P). An item nobody trained on has a column of zeros.

    References
    ----------
    Steck. Embarrassingly Shallow Autoencoders for Sparse Data. WWW 2019.
    https://arxiv.org/abs/1905.03375
    """
    wide = train.shape[0] < train.shape[1]
    squares, vectors = eigh((train @ train.T if wide else train.T @ train).toarray())
    kept = squares > 1e-9 * squares[-1]
    squares, vectors = squares[kept], vectors[:, kept]
    right = (train.T @ vectors) / np.sqrt(squares) if wide else vectors  # V [items, rank]

    def at(ridge: float) -> Score:
        shrink = squares / (squares + ridge)
        diagonal = 1 - right**2 @ shrink  # of lambda P

        def score(contexts: csr_matrix, people: Rows) -> Table:
            seen = contexts.toarray()
            return seen - (seen - ((contexts @ right) * shrink) @ right.T) / diagonal

        return score

    return at
