"""Clients' factors for rules that sum products."""

import numpy as np

from server.exchange import Exchange
from shared.aggregation.flexlora import FlexLoRA
from shared.model.adapter import AdapterSchema
from shared.update import Update

OUT, IN, RANK = 7, 5, 3
SHAPES = {
    "backbone.a.lora_A.default.weight": (RANK, IN),
    "backbone.a.lora_B.default.weight": (OUT, RANK),
    "backbone.b.lora_A.default.weight": (RANK, OUT),
    "backbone.b.lora_B.default.weight": (IN, RANK),
    "item_bias.weight": (4, 1),
}
SCHEMA = AdapterSchema(tuple(sorted(SHAPES)), tuple(SHAPES[name] for name in sorted(SHAPES)))


def global_adapter(scale=0.5):
    rng = np.random.default_rng(0)
    return rng.normal(0, scale, SCHEMA.dim)


def exchange(ranks, nodes):
    return Exchange(FlexLoRA(ranks), SCHEMA, 1, nodes)


def update_of(met, rank, vector):
    """As a client of that rank sends it."""
    return Update(np.asarray(vector, dtype=np.float32), 1.0, 0.0, met.up(rank).digest)
