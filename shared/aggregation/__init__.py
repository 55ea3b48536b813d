"""Aggregation rules: what a round trains, what travels, how updates combine.

Both sides of a federation ask the rule that `federation.aggregation` names. See docs/aggregation.md
for what each promises and how to write one.
"""

from shared.aggregation.fedsvd import FedSVD
from shared.aggregation.flexlora import FlexLoRA
from shared.aggregation.rule import AggregationRule, Carried
from shared.aggregation.selective import FFA, Alternating, FedIT, FedSA, FedSB, Principal
from shared.config import ExperimentConfig

RULES: dict[str, AggregationRule] = {
    rule.name: rule
    for rule in (FedIT(), FFA(), Alternating(), FedSVD(), FedSB(), FedSA(), FlexLoRA(), Principal())
}


def rule_of(config: ExperimentConfig) -> AggregationRule:
    """The rule that the settings name."""
    return RULES[config.federation.aggregation].of(config)


__all__ = ["RULES", "AggregationRule", "Carried", "rule_of"]
