"""Aggregation rules, one file each, one small interface."""

from server.aggregation.fedit import FedIT
from server.aggregation.rule import AggregationRule

RULES: dict[str, type[AggregationRule]] = {"fedit": FedIT}

__all__ = ["RULES", "AggregationRule", "FedIT"]
