"""FedIT: the factors A and B of every LoRA pair are summed, each on its own.

The mean of products is not the product of means; that error is the price of an upload as small as
the adapter. Linear, so it composes with secure aggregation, and a user's contribution is bounded
by the clip of its update.

References
----------
Zhang et al. 2024, Towards Building the Federated GPT: Federated Instruction Tuning.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from shared.update import Update


class FedIT:
    """Plain sum of updates, accumulated in float64."""

    linear = True

    def combine(self, updates: Iterable[Update], dim: int) -> npt.NDArray[np.float64]:
        """Sum of the cohort's updates [dim]; zero for an empty cohort."""
        total = np.zeros(dim, dtype=np.float64)
        for update in updates:
            total += update.vector
        return total
