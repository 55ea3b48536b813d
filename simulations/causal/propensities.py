"""How likely each rating was to be given: four models of exposure.

- `popularity`: P(O = 1) ~ n_i^0.5, a power law of how often the item was rated;
- `naive_bayes`: P(O = 1 | rating r) = P(r | O = 1) P(O = 1) / P(r), with P(r) from a sample of
  random ratings, which nothing is tried on;
- `logistic`: of what is known of people, and a number for each item;
- `given`: the publisher's.

References
----------
Schnabel et al. 2016, Recommendations as Treatments.
Marlin and Zemel 2009, Collaborative Prediction and Ranking with Non-random Missing Data.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shared.errors import ConfigError
from simulations.causal.ratings import Floats, Ratings

_POWER = 0.5
_LEAST = 1e-3
_PASSES, _RIDGE = 50, 1.0  # of the logistic regression


def estimated(kind: str, ratings: Ratings, fit: Floats, sample: Floats) -> Floats:
    """Propensities of all cells, in [0.001, 1], [people, items].

    Parameters
    ----------
    kind : str
        One of `PROPENSITIES`.
    ratings : Ratings
    fit : float64 [people, items]
        Of the chosen ratings those that are trained on; 0 elsewhere.
    sample : float64 [people, items]
        Of the random ones those that nothing is tried on.

    Raises
    ------
    ConfigError
        For another word, and for `given` where none are.
    """
    if kind not in PROPENSITIES:
        raise ConfigError(f"propensities = {kind}: expected one of {', '.join(PROPENSITIES)}")
    return np.clip(PROPENSITIES[kind](ratings, fit, sample), _LEAST, 1)


def _popularity(ratings: Ratings, fit: Floats, sample: Floats) -> Floats:
    law = ((fit > 0).sum(axis=0) + 1.0) ** _POWER
    return np.broadcast_to(law / law.mean() * (fit > 0).mean(), fit.shape)


def _naive_bayes(ratings: Ratings, fit: Floats, sample: Floats) -> Floats:
    """Of cells without a rating that of all: nothing is weighted there."""
    values = np.unique(fit[fit > 0])
    found = np.full(fit.shape, (fit > 0).mean())
    for value in values:
        among_random = ((sample == value).sum() + 1) / ((sample > 0).sum() + len(values))
        among_chosen = (fit == value).sum() / (fit > 0).sum()
        found[fit == value] = among_chosen * (fit > 0).mean() / among_random
    return found


def _logistic(ratings: Ratings, fit: Floats, sample: Floats) -> Floats:
    """sigma(a_i + x_u . c), by Newton's method with a ridge on c."""
    seen, x = (fit > 0).astype(float), _standardised(ratings.people)
    items = np.log((seen.mean(axis=0) + 1e-3) / (1 - seen.mean(axis=0) + 1e-3))
    slopes = np.zeros(x.shape[1])
    for _ in range(_PASSES):
        chance = 1 / (1 + np.exp(-(items[None] + (x @ slopes)[:, None])))
        left, curve = seen - chance, chance * (1 - chance)
        items = items + left.sum(axis=0) / (curve.sum(axis=0) + 1e-6)
        hessian = (x * curve.sum(axis=1)[:, None]).T @ x + _RIDGE * np.eye(len(slopes))
        slopes = slopes + np.linalg.solve(hessian, x.T @ left.sum(axis=1) - _RIDGE * slopes)
    return np.asarray(1 / (1 + np.exp(-(items[None] + (x @ slopes)[:, None]))))


def _standardised(x: Floats) -> Floats:
    spread = x.std(axis=0)
    return np.asarray((x - x.mean(axis=0)) / np.where(spread > 0, spread, 1))


def _given(ratings: Ratings, fit: Floats, sample: Floats) -> Floats:
    if ratings.given is None:
        raise ConfigError(f"propensities = given: {ratings.name} has none; use another")
    return ratings.given


PROPENSITIES: dict[str, Callable[[Ratings, Floats, Floats], Floats]] = {
    "naive_bayes": _naive_bayes,
    "popularity": _popularity,
    "logistic": _logistic,
    "given": _given,
}
