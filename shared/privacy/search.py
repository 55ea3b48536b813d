"""The value of one parameter at which a privacy loss just meets its target."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq

from shared.errors import ConfigError


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
    tolerance = 2e-6

    def excess(log_z: float) -> float:
        return min(cost(math.exp(log_z)), 1e6) - target  # brentq needs finite numbers

    low, high = math.log(0.5), math.log(2.0)
    while excess(low) <= 0:
        low, high = low - 1, low
        if low < math.log(1e-2):
            raise ConfigError(f"target epsilon = {target}: met with next to no noise; use inf")
    while excess(high) > 0:
        low, high = high, high + 1
        if high > math.log(1e6):
            raise ConfigError(f"target epsilon = {target}: too small to be accounted for")
    found: float = brentq(excess, low, high, xtol=tolerance, rtol=1e-12)
    while excess(found) > 0:  # brentq may end on either side
        found += tolerance
    return math.exp(found)
