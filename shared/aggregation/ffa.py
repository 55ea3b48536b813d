"""FFA-LoRA: A stays as it was drawn, B alone is trained.

With one A for all, sum_i B_i A = (sum_i B_i) A: the sum of factors is the sum of products. Noise
enters the product once, as N A, and not also as B N' and N N'.

References
----------
Sun, Li, Li, Ding 2024, Improving LoRA in Privacy-preserving Federated Learning (ICLR).
https://arxiv.org/abs/2403.12313
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.aggregation.factors import downs
from shared.aggregation.rule import AggregationRule, Names


class FFA(AggregationRule):
    """A is fixed: every device draws the same from `model.seed`, so it never travels."""

    name = "ffa"

    def fixed(self, names: Sequence[str]) -> Names:
        """Every A."""
        return downs(names)
