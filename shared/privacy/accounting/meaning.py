"""What an epsilon at a delta says: in figures from the accountants, none by a rule of thumb.

exceeds   P(L > epsilon), L the privacy loss: delta is not that probability but smaller
groups    epsilon of k units together, at the same delta
seen      epsilon against someone who knows in which rounds a unit was, where a secret sample
          amplifies: for a unit in as many as expected, and for the most frequent one
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import binom

from shared.errors import ConfigError
from shared.privacy.accounting.accountant import all_gaussian, epsilon, largest
from shared.privacy.accounting.pld import loss_exceeds
from shared.privacy.accounting.steps import History, SkellamStep, Step, Steps, steps_of
from shared.privacy.guarantee import Guarantee


@dataclass(frozen=True)
class Seen:
    """What someone who knows which sums a unit was in is held by.

    Parameters
    ----------
    sums : int
        Those with a secret sample that the unit was in, >= 0: rounds where each has one.
    epsilon : float
        At the guarantee's delta, amplified by nothing.
    """

    sums: int
    epsilon: float


@dataclass(frozen=True)
class Meaning:
    """One guarantee as it was spent.

    Parameters
    ----------
    epsilon, delta : float
        What was spent, by the figure that counts, at the guarantee's delta.
    exceeds : float or None
        The probability that the privacy loss is above epsilon, in [0, 1]; None where no exact
        distribution is known (Skellam noise).
    group : int
        Units that epsilon covers together.
    groups : dict of int to float
        Epsilon of so many units together at the same delta: infinity where no accountant covers it.
    seen : tuple of Seen
        Expected and most sums of a unit; empty where no secret sample amplifies.
    """

    epsilon: float
    delta: float
    exceeds: float | None
    group: int
    groups: dict[int, float]
    seen: tuple[Seen, ...]

    def stated(self) -> dict[str, Any]:
        """As a point of `results.json` states it, beside epsilon and delta."""
        return {
            "exceeds": self.exceeds,
            "group": self.group,
            "groups": {str(size): value for size, value in self.groups.items()},
            "seen": [vars(one) for one in self.seen],
        }


def most_found(epsilon: float, delta: float, false_alarm: float) -> float:
    """The most units with data that any attack can find at a given rate of false alarms, in [0, 1].

    min(e^epsilon a + delta, 1 - e^-epsilon (1 - a - delta)) for a test of "were this unit's data
    used?" with false-alarm rate a, by whom that epsilon is against, and whatever they know of
    everybody else.

    References
    ----------
    Kairouz, Oh and Viswanath, "The composition theorem for differential privacy", ICML 2015,
    theorem 2.1.
    """
    if math.isinf(epsilon):
        return 1.0
    # exp overflows past 709, where the first bound is long above 1
    direct = math.exp(min(epsilon, 700.0)) * false_alarm + delta
    return min(direct, 1.0 - math.exp(-epsilon) * (1.0 - false_alarm - delta), 1.0)


def meaning(
    histories: Sequence[History], guarantee: Guarantee, units: int, groups: Sequence[int]
) -> Meaning:
    """What has been spent means.

    Parameters
    ----------
    histories : sequence of History
        One, or those of devices with disjoint data: the costliest counts.
    guarantee : Guarantee
    units : int
        n >= 1: among them the most frequent one typically was in as many sums as `seen` says,
        the binomial quantile at 1 - 1/n of each kind.
    groups : sequence of int
        Units together whose epsilon is asked for, >= 1.

    Raises
    ------
    ConfigError
        As `shared.privacy.accounting.accountant.epsilon`.
    """
    delta, relation, group = guarantee.counted
    costs = [epsilon(history, delta, relation, group) for history in histories]
    spent = max(costs)
    worst = histories[costs.index(spent)]
    steps = steps_of(worst, relation)
    gaussian = all_gaussian(steps)
    exceeds = None if gaussian is None else loss_exceeds(gaussian, spent, relation, group)
    return Meaning(
        spent,
        delta,
        exceeds,
        group,
        {size: _together(histories, guarantee, size) for size in sorted(set(groups))},
        tuple(_seen(steps, guarantee, units)),
    )


def _together(histories: Sequence[History], guarantee: Guarantee, group: int) -> float:
    try:
        found = largest(epsilon, histories, guarantee.delta, guarantee.relation, group)
    except ConfigError:  # more sampled units than the accountant knows
        return math.inf
    return math.inf if found is None else found


def _seen(steps: Steps, guarantee: Guarantee, units: int) -> list[Seen]:
    """Expected and most sums of a unit, and what they cost it without amplification."""
    if all(_is_whole(step) for step in steps):
        return []
    found = []
    for rank in (None, 1 - 1 / max(units, 2)):
        sums, known = 0, []
        for step in steps:
            if isinstance(step, Step) and not _is_whole(step):
                law = binom(step.times, step.sampling_probability)
                times = math.ceil(law.mean()) if rank is None else int(law.ppf(rank))
                step, sums = step._replace(sampling_probability=1.0, times=times), sums + times
            known.append((step.event(), step.times))
        found.append(Seen(sums, epsilon(known, *guarantee.counted)))
    return found


def _is_whole(step: Step | SkellamStep) -> bool:
    """Whether every unit is in it."""
    return isinstance(step, SkellamStep) or step.sampling_probability == 1
