"""Adapters of a tiny model by their products: what a rule promises is about these."""

import numpy as np

from shared.aggregation.selective import cores, pairs


def products(schema, vector) -> list[np.ndarray]:
    """B A, or B R A, of every adapted layer, float64 [out, in]."""
    tensors = {
        name: np.asarray(vector)[schema.slice_of(name)].reshape(shape)
        for name, shape in zip(schema.names, schema.shapes, strict=True)
    }
    middles = dict(zip(pairs(schema.names), cores(schema.names), strict=False))
    found = []
    for down, up in pairs(schema.names):
        core = tensors[middles[down, up]] if (down, up) in middles else np.eye(len(tensors[down]))
        found.append(tensors[up] @ core @ tensors[down])
    return found
