"""The value of one parameter at which a privacy loss just meets its target.

Losses fall as noise grows, and grow with rounds and with the sampling probability: what is found
meets the target, and one step on (rounds: one more; otherwise a share of 2e-5) does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq

from shared.errors import ConfigError

MOST_ROUNDS = 10**6
LEAST_SAMPLING = 1e-6
_TOLERANCE = 2e-6  # relative


def least_noise(cost: Callable[[float], float], target: float) -> float:
    """The least noise multiplier z with cost(z) <= target.

    Parameters
    ----------
    cost : callable
        Epsilon by z > 0; falls as z grows.
    target : float
        Epsilon > 0.

    Returns
    -------
    float
        At most 1e-5 (relative) above the least; its cost is at most the target.

    Raises
    ------
    ConfigError
        If that is outside 1e-2 to 1e6.
    """
    excess = _excess(cost, target)
    low, high = math.log(0.5), math.log(2.0)
    while excess(low) <= 0:
        low, high = low - 1, low
        if low < math.log(1e-2):
            raise ConfigError(
                f"{_named(target)}: met with next to no noise (a multiplier below 0.01), less than "
                "accountants can tell apart; give a smaller epsilon, or more rounds or a larger "
                "cohort (sampling)"
            )
    while excess(high) > 0:
        low, high = high, high + 1
        if high > math.log(1e6):
            raise ConfigError(
                f"{_named(target)}: exceeded even with a noise multiplier of 1e6; give a larger "
                "epsilon, or fewer rounds or a smaller group"
            )
    return math.exp(_crossing(excess, low, high, _TOLERANCE))


def largest_sampling(cost: Callable[[float], float], target: float) -> float:
    """The largest sampling probability q in (0, 1] with cost(q) <= target.

    Parameters
    ----------
    cost : callable
        Epsilon by q; grows with it.
    target : float
        Epsilon > 0.

    Returns
    -------
    float
        At most 1e-5 (relative) below the largest; its cost is at most the target.

    Raises
    ------
    ConfigError
        If that is below 1e-6.
    """
    if cost(1.0) <= target:
        return 1.0
    excess = _excess(cost, target)
    low, high = -1.0, 0.0
    while excess(low) > 0:
        low, high = low - 1, low
        if low < math.log(LEAST_SAMPLING):
            raise ConfigError(
                f"{_named(target)}: exceeded even with a sampling probability (--sampling) of "
                f"{LEAST_SAMPLING:g}; give more --noise or fewer --rounds"
            )
    return math.exp(_crossing(excess, low, high, -_TOLERANCE))


def most_rounds(cost: Callable[[int], float], target: float) -> int:
    """The largest number of rounds R with cost(R) <= target.

    Parameters
    ----------
    cost : callable
        Epsilon by R >= 1; grows with it.
    target : float
        Epsilon > 0.

    Raises
    ------
    ConfigError
        If one round exceeds the target, or a million do not.
    """
    if cost(1) > target:
        raise ConfigError(
            f"{_named(target)}: exceeded by a single round; give more --noise or a smaller "
            "--sampling"
        )
    low, high = 1, 4
    while cost(high) <= target:
        if high == MOST_ROUNDS:
            raise ConfigError(
                f"{_named(target)}: not reached in {MOST_ROUNDS:,} rounds; give less --noise"
            )
        low, high = high, min(4 * high, MOST_ROUNDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= target else (low, middle)
    return low


def _named(target: float) -> str:
    return f"epsilon (--epsilon) = {target:g}"


def _excess(cost: Callable[[float], float], target: float) -> Callable[[float], float]:
    """Of the cost over the target, by the logarithm of the parameter."""

    def excess(log_value: float) -> float:
        return min(cost(math.exp(log_value)), 1e6) - target  # brentq needs finite numbers

    return excess


def _crossing(excess: Callable[[float], float], low: float, high: float, step: float) -> float:
    """Where the excess changes sign, on the side where the target is met: there `step` leads."""
    found: float = brentq(excess, low, high, xtol=abs(step), rtol=1e-12)
    while excess(found) > 0:  # brentq may end on either side
        found += step
    return found
