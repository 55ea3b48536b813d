"""Fed-SB: an r x r core R between a frozen A and a frozen B is all that is trained of a pair.

    W x + s B R A x        W ~ U S V' of rank r:  A = V', B = U S, from the frozen weights alone

sum_i B R_i A = B (sum_i R_i) A: exact, whatever else is trained, and r^2 numbers a layer instead of
r (in + out). Needs no data to begin with, so nothing of anybody's is spent on it. (The paper takes
B and A from a first gradient on data instead; that would be a release.)

References
----------
Singhal et al. 2025, Fed-SB: A Silver Bullet for Extreme Communication Efficiency and Performance in
(Private) Federated LoRA Fine-Tuning. https://arxiv.org/abs/2502.15436
Balazy et al. 2024, LoRA-XS. https://arxiv.org/abs/2405.17604
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.aggregation.factors import downs, ups
from shared.aggregation.rule import AggregationRule, Names


class FedSB(AggregationRule):
    """A and B are the backbone's own directions: every device computes them, they never travel."""

    name = "fedsb"

    def fixed(self, names: Sequence[str]) -> Names:
        """Every A and B."""
        return (*downs(names), *ups(names))
