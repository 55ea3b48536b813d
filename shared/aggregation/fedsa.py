"""FedSA-LoRA: A is shared, every device keeps a B of its own.

A learns what serves everyone, B what is one person's. B never leaves its device: it is neither
clipped nor noised nor uploaded, and it costs no privacy however long it is trained. What leaves is
the update of A (and of what is no factor), clipped and noised alone.

The guarantee is that of the other rules. A person's B acts on the released sums through that
person's own clipped contributions alone, and these may depend on anything that was released before
and on anything that person's device holds.

A B of zero gives A no gradient: with one local step a device's first round trains its B alone.

References
----------
Guo, Zeng, Wang, Fan, Wang, Qu 2025, Selective Aggregation for Low-Rank Adaptation in Federated
Learning (ICLR). https://arxiv.org/abs/2410.01463
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.aggregation.factors import item_ups, ups
from shared.aggregation.rule import AggregationRule, Names


class FedSA(AggregationRule):
    """B of every pair is personal, and what plays its part in the item table's correction."""

    name = "fedsa"

    def personal(self, names: Sequence[str]) -> Names:
        """Every B, the item table's two among them."""
        return tuple(sorted((*ups(names), *item_ups(names))))
