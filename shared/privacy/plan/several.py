"""Several runs on the same people under one budget: what each may cost, and what all do.

Whoever sees all K of them sees one composition. Each run is fixed before anything is released,
none follows from what another released, and each draws its noise and whom it asks anew, so its
loss is the sum of theirs:

    (M_1, ..., M_K)   costs   epsilon(M_1's events, ..., M_K's events; delta)

Nothing here rests on all runs but one staying hidden, as bounds for a random number of them do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from shared.errors import ConfigError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.guarantee import Guarantee, in_sums, seen_of_each
from shared.privacy.plan.plan import Plan

PARTS = 1000
"""A run's budget is a whole number of parts of all runs' together: a figure of few digits."""


def cost_of_all(plans: Sequence[Plan]) -> float:
    """Epsilon, by PLD, of everything that several plans may release of the same people.

    Parameters
    ----------
    plans : sequence of Plan
        At least one; of one unit, relation, group and delta.

    Raises
    ------
    ConfigError
        If they are not.
    """
    counted = same_promise([plan.guarantee for plan in plans])
    events = [(each.event, each.times) for plan in plans for each in plan.releases]
    return epsilon(events, *counted.counted)


def same_promise(guarantees: Sequence[Guarantee]) -> Guarantee:
    """The first of several guarantees, if all are of one unit and counted in one way.

    Of devices in a sum it says what all say: the fewest of any of them.

    Raises
    ------
    ConfigError
        If two are not: their losses cannot be added up.
    """
    first, *others = guarantees
    for other in others:
        for name in ("unit", "relation", "trust", "group", "delta"):
            one, two = getattr(first, name), getattr(other, name)
            if one != two:
                raise ConfigError(
                    f"{name} = {one} and {two} of two runs: what they cost cannot be added up; "
                    "give both the same"
                )
    seen = [seen_of_each(each.adversary) for each in guarantees]
    words = seen[0][0]
    if any(others[0] != words for others in seen):
        raise ConfigError(
            "adversary differs between two runs: what they cost cannot be added up; give both the "
            "same"
        )
    fewest, colluding = min(each[1] for each in seen), min(each[2] for each in seen)
    return replace(first, adversary=in_sums(words, fewest, colluding) if fewest > 1 else words)


def budget_of_each(plans_at: Callable[[float], Sequence[Plan]], whole: float) -> float:
    """The largest epsilon, the same for each of several runs, with which all keep one budget.

    Parameters
    ----------
    plans_at : callable
        The runs' plans, K >= 1 of them, each calibrated to this epsilon at the budget's delta.
    whole : float
        The budget: epsilon > 0 of all together, finite.

    Returns
    -------
    float
        A whole number of `PARTS` of `whole`; what all cost at it is at most `whole`. Of one run it
        is `whole`; of K it falls about as 1 / sqrt(K), and is never below whole / K but by a part.

    Raises
    ------
    ConfigError
        If no noise gives each run so small a budget.
    """

    def at(parts: int) -> float:
        return float(f"{whole * parts / PARTS:.12g}")

    def keeps(parts: int) -> bool:
        return cost_of_all(plans_at(at(parts))) <= whole

    low, high = 0, PARTS
    if keeps(high):
        return at(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    if not low:
        raise ConfigError(
            f"epsilon (--epsilon) = {whole:g}: less than a thousandth of it is left for each run; "
            "give fewer of them, or a larger epsilon"
        )
    return at(low)
