"""What every aggregation rule answers: how the cohort's updates combine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.update import Update


class AggregationRule(Protocol):
    """One way of combining the cohort's updates. Linear rules compose with secure aggregation."""

    linear: bool

    def combine(self, updates: Iterable[Update], dim: int) -> npt.NDArray[np.float64]:
        """The cohort's combined update [dim], with the sensitivity of one user's clip."""
        ...
