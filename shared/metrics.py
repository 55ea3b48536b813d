"""Ranking metrics, each with its formula. Ranks are 0-based, and ties count against the target.

Every user has one relevant item, the held-out interaction. `rank_of_target` turns scores into
ranks; hits and gains turn ranks into one value per user; `ranking_metrics` averages those and adds
standard errors over users. `gini` says how unequally counts are spread over items.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.errors import DataError

Ranks = NDArray[np.int64]
Values = NDArray[np.float64]

NOT_RELEASED = "evaluator only, not released"
"""The label of figures that no noise covers: of all that results hold but released metrics."""


def rank_of_target(scores: ArrayLike, target_column: int | ArrayLike = 0) -> Ranks:
    """Position of each row's target among its candidates, best first.

    rank = |{j != target : not score_j < score_target}|. Equal scores count against the target, so
    a model that scores everything alike ranks last. A target scored NaN is last, and a competitor
    scored NaN is ahead: numbers that are not numbers never improve a result.

    Parameters
    ----------
    scores : array of float, [n, candidates]
        Higher is better; `-inf` takes a candidate out of the running.
    target_column : int or array of int, [n]
        The column of the target, in [0, candidates): one for all rows, or one per row.

    Returns
    -------
    array of int64, [n]
        In [0, candidates - 1]; 0 is the best rank.

    Raises
    ------
    DataError
        If `scores` is not a table or a target column lies outside it.

    Examples
    --------
    >>> rank_of_target([[0.5, 0.9, 0.1], [0.5, 0.5, 0.5]]).tolist()
    [1, 2]
    """
    table = np.asarray(scores)
    if table.ndim != 2 or table.shape[1] == 0:
        raise DataError(f"scores has shape {table.shape}; expected [n, candidates >= 1]")
    rows, candidates = table.shape
    columns = np.asarray(target_column, dtype=np.int64)
    if columns.size and not (columns.min() >= 0 and columns.max() < candidates):
        outside = int(columns.min()) if columns.min() < 0 else int(columns.max())
        raise DataError(f"target_column = {outside}; expected 0 to {candidates - 1}")
    columns = np.broadcast_to(columns, (rows,))
    target = table[np.arange(rows), columns][:, None]  # [n, 1]
    # "not below" instead of "at least": comparisons with NaN are false.
    ahead = ~(table < target)  # [n, candidates], true for the target itself
    ranks: Ranks = ahead.sum(axis=1, dtype=np.int64) - 1
    return ranks


def hits(ranks: ArrayLike, k: int = 10) -> Values:
    """One value per user: 1 if rank < k, else 0 (float64 [n]); their mean is HR@k."""
    return (_ranks(ranks) < _cutoff(k)).astype(np.float64)


def discounted_gains(ranks: ArrayLike, k: int = 10) -> Values:
    """One value per user: 1 / log2(rank + 2) if rank < k, else 0 (float64 [n]).

    With one relevant item the ideal gain is 1, so this is each user's NDCG@k.

    References
    ----------
    Jarvelin and Kekalainen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002.
    """
    ranked = _ranks(ranks)
    return np.where(ranked < _cutoff(k), 1.0 / np.log2(ranked + 2.0), 0.0)


def reciprocal_ranks(ranks: ArrayLike) -> Values:
    """One value per user: 1 / (rank + 1) (float64 [n], in (0, 1]); their mean is MRR."""
    return np.reciprocal(_ranks(ranks).astype(np.float64) + 1.0)


def standard_error(values: ArrayLike) -> float:
    """Standard error of the mean: s / sqrt(n), s with n - 1 in the denominator; NaN if n < 2."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2:
        return math.nan
    return float(sample.std(ddof=1) / math.sqrt(sample.size))


def ranking_metrics(sampled_ranks: ArrayLike, full_ranks: ArrayLike) -> dict[str, float]:
    """The metrics of one evaluation, with standard errors over users.

    Parameters
    ----------
    sampled_ranks : array of int, [users]
        Ranks among the target and its sampled negatives.
    full_ranks : array of int, [users]
        Ranks among the whole catalogue, for the same users.

    Returns
    -------
    dict of float
        `hr@10`, `ndcg@10` and `mrr` of the sampled ranks, the same with the prefix `full_` of the
        full ranks, each followed by its standard error under the suffix `_se` (left out where one
        user alone gives none), and `users`.

    Raises
    ------
    DataError
        If no user was ranked, the two counts differ, or a rank is negative.
    """
    sampled, full = _ranks(sampled_ranks), _ranks(full_ranks)
    if sampled.size != full.size:
        raise DataError(
            f"sampled_ranks has {sampled.size} users and full_ranks {full.size}; "
            "expected the same users in both"
        )
    metrics: dict[str, float] = {}
    for prefix, ranks in (("", sampled), ("full_", full)):
        per_user = {
            "hr@10": hits(ranks),
            "ndcg@10": discounted_gains(ranks),
            "mrr": reciprocal_ranks(ranks),
        }
        for name, values in per_user.items():
            metrics[prefix + name] = float(values.mean())
            if values.size > 1:
                metrics[f"{prefix}{name}_se"] = standard_error(values)
    return metrics | {"users": float(sampled.size)}


def gini(counts: ArrayLike) -> float:
    """How unequally counts are spread: 0 if all are the same, toward 1 if one item has them all.

    G = sum_i (2 i - n - 1) x_i / (n sum_i x_i), with x sorted ascending and i = 1 .. n.
    All zeros give 0.

    Parameters
    ----------
    counts : array of float, [items]
        Each >= 0; items >= 1.
    """
    values = np.sort(np.asarray(counts, dtype=np.float64))
    total = values.sum()
    if total == 0:
        return 0.0
    weights = 2.0 * np.arange(1, values.size + 1) - values.size - 1
    return float(weights @ values / (values.size * total))


def _ranks(ranks: ArrayLike) -> Ranks:
    values = np.asarray(ranks, dtype=np.int64)
    if values.ndim != 1 or values.size == 0:
        raise DataError(
            f"ranks has shape {values.shape}; expected [users >= 1]: no user was ranked"
        )
    if values.min() < 0:
        raise DataError(f"rank {int(values.min())}; expected 0 or more")
    return values


def _cutoff(k: int) -> int:
    if k < 1:
        raise DataError(f"k = {k}; expected k >= 1")
    return k


def selection_score(metrics: Mapping[str, float]) -> float:
    """By what an iterate is chosen on validation: both metrics of both protocols, in [0, 4].

    Among sampled negatives alone what helps the head of a catalogue wins over what finds the item
    among all of them.

    Examples
    --------
    >>> ranks = [0, 12]
    >>> round(selection_score(ranking_metrics(ranks, ranks)), 3)
    2.0
    """
    return sum(metrics[name] for name in ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10"))
