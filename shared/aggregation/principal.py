"""Principal: what reads is fixed to public directions, and only what writes is trained.

    W ~ U S V' of rank r:  A = V'        correction s B A, B trained from zero
    E ~ U S V' of rank r:  B' = sqrt(items) S^-1 V'    scores a_i . B' g, a_i trained from zero

FFA with three differences that matter under noise. A is where the frozen weights are large instead
of where chance fell. The item table, which FFA trains in both factors, keeps its B' too: a state is
read as its leading text components, each of unit spread over the items, and every item learns r
numbers about them. And the input is not corrected: x is the frozen text vector, so what is noised
enters the scores alone.

Directions of frozen weights and texts cost no privacy. With one A and one B' for all, sums of
factors are sums of products.

References
----------
Sun, Li, Li, Ding 2024, Improving LoRA in Privacy-preserving Federated Learning (ICLR): one factor
fixed. https://arxiv.org/abs/2403.12313
Balazy, Banaei, Aberer, Tabor 2024, LoRA-XS: singular directions of the frozen weights.
https://arxiv.org/abs/2405.17604
Meng, Wang, Zhang 2024, PiSSA: adapters that begin at principal directions.
https://arxiv.org/abs/2404.02948
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.aggregation.factors import downs, item_readers
from shared.aggregation.rule import AggregationRule, Names


class Principal(AggregationRule):
    """A and B' are the frozen weights' own: every device computes them, they never travel."""

    name = "principal"

    def fixed(self, names: Sequence[str]) -> Names:
        """Every A, and the item table's B'."""
        return (*downs(names), *item_readers(names))
