"""Learning from ratings that people chose to give, and trying it on random ones.

With O the cells that were rated, p a propensity and e the squared error of a prediction,

    naive          mean of e over O
    ips            mean of w e over O,   w = min(bound, 1/p, scaled to the mean 1 over O)
    doubly_robust  mean over all cells of e' + 1[O] (w / |O|) |cells| (e - e')

with e' the squared distance of a prediction to a first model's, that of `ips`. Written out, the
last is the squared distance to y = r' + 1[O] (w |cells| / |O|) (r - r') in all cells and a number
that no prediction changes: so it is learned as a regression on these. Scaled to the mean 1, ips is
its self-normalised form.

What each model may learn is chosen by the weighted error of a tenth of the chosen ratings; random
ratings choose nothing. A twentieth of them is set aside for propensities, and not tried on.

References
----------
Schnabel et al. 2016, Recommendations as Treatments.
Wang et al. 2019, Doubly Robust Joint Learning for Recommendation on Data Missing Not at Random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError
from simulations.causal.factors import Shape, fitted
from simulations.causal.propensities import estimated
from simulations.causal.ratings import Floats, Ratings

NAIVE, IPS, DOUBLY_ROBUST = "naive", "ips", "doubly_robust"
CORRECTIONS = (NAIVE, IPS, DOUBLY_ROBUST)
CUTOFF = 5
DRAWS = 1000
_VALIDATED, _SAMPLED = 0.1, 0.05
_RANKS, _RIDGES, _TRAITS = (0, 2), (1.0, 3.0, 10.0), (3.0, 10.0, 30.0)
_FULLER = 10.0  # ridges of a regression on all cells are so many times larger
_SEED = 0x72617465


@dataclass(frozen=True)
class Found:
    """One way of learning, over all seeds.

    Attributes
    ----------
    mse, ndcg : float
        On random ratings: mean squared error over ratings, NDCG@5 over people; means over seeds.
    mse_of_seeds, ndcg_of_seeds : tuple of float
    mse_gain, ndcg_gain : (float, float, float)
        Naive minus this one (NDCG: this one minus naive), and the ends of its 95% interval: a
        bootstrap over people of their means over seeds, paired.
    shapes : tuple of Shape
        That were chosen.
    """

    mse: float
    ndcg: float
    mse_of_seeds: tuple[float, ...]
    ndcg_of_seeds: tuple[float, ...]
    mse_gain: tuple[float, float, float]
    ndcg_gain: tuple[float, float, float]
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class _Tried:
    """One seed's: squared errors summed for each person, how many, and NDCG@5 (nan: nothing)."""

    errors: Floats
    counts: Floats
    gains: Floats
    shape: Shape


def compared(
    ratings: Ratings, propensities: str, bound: float, seeds: Sequence[int]
) -> Mapping[str, Found]:
    """All three ways of learning, by name.

    Parameters
    ----------
    ratings : Ratings
    propensities : str
        See `simulations.causal.propensities`.
    bound : float
        Of a weight, over the mean one; >= 1.
    seeds : sequence of int
        Of what is set aside and of factors; each >= 0.

    Raises
    ------
    ConfigError
        For a value out of range.
    """
    if not 1 <= bound < float("inf"):
        raise ConfigError(f"bound = {bound:g}: expected from 1 up; weights have the mean 1")
    if not seeds or min(seeds) < 0:
        raise ConfigError(f"seeds = {list(seeds)}: expected one or more, from 0 up")
    tried = [_one_seed(ratings, propensities, bound, seed) for seed in seeds]
    return {
        name: _summed([each[name] for each in tried], [each[NAIVE] for each in tried])
        for name in CORRECTIONS
    }


def _one_seed(ratings: Ratings, kind: str, bound: float, seed: int) -> dict[str, _Tried]:
    rng = np.random.default_rng((_SEED, seed))
    sample, test = _parted(ratings.random, _SAMPLED, rng)
    held, fit = _parted(ratings.chosen, _VALIDATED, rng)
    weights = bounded_weights(
        estimated(kind, ratings, ratings.chosen - held, sample), ratings.chosen > 0, bound
    )
    people = ratings.people - ratings.people.mean(axis=0)
    judge = np.where(held > 0, weights, 0)

    def best(y: Floats, counts: Floats, times: float = 1.0) -> tuple[Shape, Floats]:
        made = [(shape, fitted(y, counts, people, shape, seed)) for shape in _shapes(times)]
        return min(made, key=lambda one: float((judge * (one[1] - held) ** 2).sum()))

    seen = fit > 0
    found = {NAIVE: best(fit, seen.astype(float)), IPS: best(fit, np.where(seen, weights, 0))}
    first = found[IPS][1]
    y = pseudo_outcomes(first, fit, weights)
    found[DOUBLY_ROBUST] = best(y, np.ones_like(y), _FULLER)
    return {name: _tried(made, test, shape) for name, (shape, made) in found.items()}


def bounded_weights(propensities: Floats, seen: NDArray[np.bool_], bound: float) -> Floats:
    """1/p where something was seen, of mean 1 there, cut at `bound`; 0 elsewhere."""
    inverse = np.where(seen, 1 / propensities, 0)
    return np.asarray(np.minimum(inverse / inverse[seen].mean(), bound))


def pseudo_outcomes(first: Floats, fit: Floats, weights: Floats) -> Floats:
    """y of doubly robust learning, [people, items]; the first model's where nothing was rated."""
    seen = fit > 0
    return np.asarray(first + np.where(seen, weights * seen.size / seen.sum() * (fit - first), 0))


def _shapes(times: float) -> Iterator[Shape]:
    for rank, ridge, traits in product(_RANKS, _RIDGES, _TRAITS):
        yield Shape(rank, ridge * times, traits * times)


def _parted(ratings: Floats, share: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A share of the ratings, and the others; 0 where the other ones are."""
    cells = np.flatnonzero(ratings)
    flat = np.zeros(ratings.size, dtype=bool)
    flat[rng.permutation(cells)[: round(share * len(cells))]] = True
    some = flat.reshape(ratings.shape)
    return np.where(some, ratings, 0), np.where(some, 0, ratings)


def _tried(made: Floats, test: Floats, shape: Shape) -> _Tried:
    there = test > 0
    gains = np.array([ndcg(made[user, row], test[user, row]) for user, row in enumerate(there)])
    return _Tried((there * (made - test) ** 2).sum(axis=1), there.sum(axis=1), gains, shape)


def ndcg(scores: Floats, ratings: Floats) -> float:
    """NDCG@5 with gains 2^r - 1, of the ratings of one person; nan without any.

    Examples
    --------
    >>> ndcg(np.array([0.1, 0.9]), np.array([1.0, 2.0]))
    1.0
    """
    if not len(ratings):
        return float("nan")
    gains = 2.0**ratings - 1
    discounts = 1 / np.log2(np.arange(min(CUTOFF, len(gains))) + 2)
    order = np.argsort(-scores, kind="stable")[:CUTOFF]
    return float(
        (gains[order] * discounts).sum() / (np.sort(gains)[::-1][:CUTOFF] * discounts).sum()
    )


def _summed(tried: Sequence[_Tried], naive: Sequence[_Tried]) -> Found:
    mses = tuple(float(one.errors.sum() / one.counts.sum()) for one in tried)
    ndcgs = tuple(float(np.nanmean(one.gains)) for one in tried)
    squares = np.mean([b.errors - a.errors for a, b in zip(tried, naive, strict=True)], axis=0)
    counts = np.mean([one.counts for one in tried], axis=0)
    more = np.mean(
        [np.nan_to_num(a.gains - b.gains) for a, b in zip(tried, naive, strict=True)], axis=0
    )
    there = np.mean([~np.isnan(one.gains) for one in tried], axis=0)
    return Found(
        float(np.mean(mses)),
        float(np.mean(ndcgs)),
        mses,
        ndcgs,
        _gain(squares, counts),
        _gain(more, there),
        tuple(one.shape for one in tried),
    )


def _gain(top: Floats, below: Floats) -> tuple[float, float, float]:
    """A ratio of sums over people, and the ends of its bootstrap interval."""
    rng = np.random.default_rng(_SEED)
    drawn = rng.integers(len(top), size=(DRAWS, len(top)))
    low, high = np.percentile(top[drawn].sum(axis=1) / below[drawn].sum(axis=1), (2.5, 97.5))
    return float(top.sum() / below.sum()), float(low), float(high)
