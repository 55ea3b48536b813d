"""Alternating factors (RoLoRA): a round trains B or A of every pair, never both.

With one of the two the same for all, the sum of factors is the sum of products, as under FFA, but
over two rounds both factors learn. B comes first: it starts at zero, and while it is zero A has no
gradient.

References
----------
Chen et al. 2025, Robust Federated Finetuning of LLMs via Alternating Optimization of LoRA
(RoLoRA). https://arxiv.org/abs/2502.01755
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.aggregation.factors import downs, ups
from shared.aggregation.rule import AggregationRule, Names


class Alternating(AggregationRule):
    """B in odd rounds, A in even ones."""

    name = "alternating"

    def trained(self, names: Sequence[str], round_number: int) -> Names:
        """Everything but the factors whose turn it is not."""
        waiting = {*(downs(names) if round_number % 2 else ups(names))}
        return tuple(name for name in names if name not in waiting)
