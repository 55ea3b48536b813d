"""The value of a policy by each estimator, with intervals, and what they rest on.

Intervals are percentiles of a bootstrap that draws people with replacement (rows, where the log
names nobody). Of DM the model of clicks is fitted anew in every draw, on the log's own contexts; of
the others it is held as it was fitted: it was so on other people, and where propensities are known
an error in it moves no doubly robust estimate in expectation. No interval covers what no row can
tell: propensities that are wrong, or items that pi shows and the log never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared.errors import ConfigError, DataError
from simulations.offpolicy.clicks import Cells, folds_of, rates
from simulations.offpolicy.estimators import Floats, Terms, choose_switch, contributions, estimates
from simulations.offpolicy.feedback import LoggedFeedback
from simulations.offpolicy.policies import Policy

DRAWS = 1000
_ENDS = (2.5, 97.5)
_ROUNDED = 1e-3
_BOOTSTRAP, _FOLDS = 0x626F6F74, 0x666F6C64  # keep random streams of one seed apart


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Valued:
    """What a policy is worth: the mean reward of a shown item.

    Attributes
    ----------
    policy : str
    estimates : mapping of str to Estimate
        By estimator.
    logged : Estimate
        Of the policy that logged, by its own rewards.
    switch : float
        tau of switch-DR.
    rows, people : int
    effective_rows : float
        (sum w)^2 / sum w^2, in [0, rows].
    largest_weight : float
    mean_weight : Estimate
        1 in expectation, if propensities are right and pi shows nothing that the log never does.
    unsupported : float
        The share of pi's choices of items that the log never shows at that place, in [0, 1].
    """

    policy: str
    estimates: Mapping[str, Estimate]
    logged: Estimate
    switch: float
    rows: int
    people: int
    effective_rows: float
    largest_weight: float
    mean_weight: Estimate
    unsupported: float

    @property
    def warnings(self) -> list[str]:
        """Where an estimate is not to be relied upon."""
        found = []
        if self.unsupported > 0:
            found.append(
                f"{self.unsupported:.2%} of the policy's choices are of items that the log never "
                "shows at that place: what they earn no row tells"
            )
        mean = self.mean_weight
        # Propensities that were rounded when they were written are no wrong ones.
        if not mean.low <= 1 <= mean.high and abs(mean.value - 1) >= _ROUNDED:
            found.append(
                f"weights have the mean {mean.value:.3f}, not 1: propensities are not "
                "those of the policy that logged, or it cannot show what this one does"
            )
        if self.effective_rows < 0.01 * self.rows:
            found.append(
                f"{self.rows:,} rows are worth {self.effective_rows:,.0f}: few of them decide"
            )
        return found


def value_of(policy: Policy, log: LoggedFeedback, seed: int = 0) -> Valued:
    """Value a policy by a log of another.

    Parameters
    ----------
    policy : Policy
    log : LoggedFeedback
    seed : int
        Of folds and bootstrap, >= 0.

    Raises
    ------
    ConfigError
        For a negative seed.
    DataError
        If the policy has nothing to show at a row, or the log is of one person alone.
    """
    if seed < 0:
        raise ConfigError(f"seed = {seed}: expected 0 or more")
    people = int(log.people.max()) + 1
    if people < 2:
        raise DataError(f"{log.name}: is of one person; an interval over people needs more")
    cells, modelled = model_of(log, seed)
    chances, terms, unsupported = terms_of(policy, log, cells, modelled)
    tau = choose_switch(terms, float(modelled.max()))
    sums = {
        name: (_by_person(log, top), _by_person(log, below))
        for name, (top, below) in contributions(terms, tau).items()
    }
    one = _by_person(log, np.ones(len(log)))
    sums["logged"] = _by_person(log, terms.rewards), one
    sums["mean_weight"] = _by_person(log, terms.weights), one
    drawn = _drawn(log, sums, cells, chances, seed)
    point = {**estimates(terms, tau)}
    point |= {"logged": float(terms.rewards.mean()), "mean_weight": float(terms.weights.mean())}
    found = {name: _estimate(point[name], drawn[name]) for name in drawn}
    squares = float((terms.weights**2).sum())
    return Valued(
        policy=policy.name,
        logged=found.pop("logged"),
        mean_weight=found.pop("mean_weight"),
        estimates=found,
        switch=tau,
        rows=len(log),
        people=people,
        effective_rows=float(terms.weights.sum()) ** 2 / squares if squares else 0.0,
        largest_weight=float(terms.weights.max()),
        unsupported=unsupported,
    )


def model_of(log: LoggedFeedback, seed: int) -> tuple[Cells, Floats]:
    """Where the rows of a log count, and its model of clicks, [folds, items, places]."""
    folds = folds_of(int(log.people.max()) + 1, np.random.default_rng((_FOLDS, seed)))
    shape = (int(folds.max()) + 1, len(log.item_ids), len(log.place_names))
    cells = Cells(folds[log.people], log.items, log.places, shape)
    return cells, rates(cells.others(log.rewards), cells.others(np.ones(len(log))))


def terms_of(
    policy: Policy, log: LoggedFeedback, cells: Cells, modelled: Floats
) -> tuple[Floats, Terms, float]:
    """What estimates are made of.

    Returns
    -------
    float64 [folds, items, places]
        Sums of pi over the rows of each fold and place.
    Terms
        Of the rows.
    float
        Share of pi's choices that the log never shows at that place.
    """
    shown = cells.sums(np.ones(len(log))).sum(axis=0) > 0  # [items, places]
    chances = np.zeros(cells.shape)
    ratios, expected = np.empty(len(log)), np.empty(len(log))
    lost = 0.0
    for rows, is_open in log.choices:
        weights = policy.weights(log, rows, cells) * is_open
        total = weights.sum(axis=1, keepdims=True)
        if not (total > 0).all():
            place = log.place_names[log.places[rows][int(np.argmin(total[:, 0]))]]
            raise DataError(f"{log.name}: {policy.name} has nothing to show at place {place}")
        pi = weights / total  # [m, items]
        items, places, folds = log.items[rows], log.places[rows], cells.folds[rows]
        ratios[rows] = pi[np.arange(len(pi)), items] / log.propensities[rows]
        expected[rows] = np.einsum("ma,ma->m", pi, modelled[folds, :, places])
        np.add.at(chances.transpose(0, 2, 1), (folds, places), pi)
        lost += float((pi * ~shown[:, places].T).sum())
    above = _products_above(ratios, log)
    fitted = modelled[cells.folds, cells.items, cells.places]
    terms = Terms(log.rewards, above * ratios, above, expected, fitted)
    return chances, terms, lost / len(log)


def _products_above(ratios: Floats, log: LoggedFeedback) -> Floats:
    """Of the rows above each in its slate, [n]; 1 for the first."""
    found = np.ones(len(ratios))
    for row in np.flatnonzero(np.diff(log.slates) == 0) + 1:
        found[row] = found[row - 1] * ratios[row - 1]
    return found


def _by_person(log: LoggedFeedback, values: Floats) -> Floats:
    return np.bincount(log.people, values).astype(np.float64, copy=False)


def _drawn(
    log: LoggedFeedback,
    sums: Mapping[str, tuple[Floats, Floats]],
    cells: Cells,
    chances: Floats,
    seed: int,
) -> dict[str, Floats]:
    """Every estimate in every draw, [DRAWS] each."""
    rng = np.random.default_rng((_BOOTSTRAP, seed))
    tops, belows = (np.stack(parts) for parts in zip(*sums.values(), strict=True))
    people, places = tops.shape[1], list(sums)
    table = np.empty((len(sums), DRAWS))
    for draw in range(DRAWS):
        times = np.bincount(rng.integers(people, size=people), minlength=people).astype(float)
        with np.errstate(invalid="ignore"):  # SNIPS without any weight
            table[:, draw] = (tops @ times) / (belows @ times)
        rows = times[log.people]
        fitted = rates(cells.others(rows * log.rewards), cells.others(rows))
        table[places.index("dm"), draw] = float((chances * fitted).sum() / len(log))
    return dict(zip(places, table, strict=True))


def _estimate(value: float, drawn: Floats) -> Estimate:
    known = drawn[~np.isnan(drawn)]
    low, high = np.percentile(known, _ENDS) if len(known) else (float("nan"), float("nan"))
    return Estimate(value, float(low), float(high))
