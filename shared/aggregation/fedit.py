"""FedIT: the factors A and B of every LoRA pair are summed, each on its own.

The mean of products is not the product of means; over clients i with factors A_i, B_i

    mean(B_i A_i) - mean(B_i) mean(A_i) = mean((B_i - mean(B)) (A_i - mean(A)))

is the error, the price of updating both factors at once.

References
----------
Zhang et al. 2024, Towards Building the Federated GPT: Federated Instruction Tuning.
"""

from __future__ import annotations

from shared.aggregation.rule import AggregationRule


class FedIT(AggregationRule):
    """Everything is trained in every round."""

    name = "fedit"
