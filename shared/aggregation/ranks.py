"""LoRA pairs of several ranks: leading parts of the global factors, and products that add up.

A client of rank r is given the first r rows of A and the first r columns of B; in a model of full
rank the others stand at zero, where they get no gradient: A's is B' g x', B's is g (A x)'.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.aggregation.selective import downs, pairs, ups
from shared.errors import ProtocolError
from shared.model.adapter import AdapterSchema
from shared.update import Arrays


def narrowed(schema: AdapterSchema, rank: int) -> AdapterSchema:
    """The schema of a client of that rank."""
    down, up = downs(schema.names), ups(schema.names)
    shapes = tuple(
        (min(rank, shape[0]), shape[1])
        if name in down
        else (shape[0], min(rank, shape[1]))
        if name in up
        else shape
        for name, shape in zip(schema.names, schema.shapes, strict=True)
    )
    return AdapterSchema(schema.names, shapes)


def narrow(arrays: Arrays, rank: int) -> dict[str, npt.NDArray[np.float32]]:
    """The leading part of each factor that goes to a client of that rank."""
    down, up = downs(tuple(arrays)), ups(tuple(arrays))
    return {
        name: np.ascontiguousarray(
            array[:rank] if name in down else array[:, :rank] if name in up else array
        )
        for name, array in arrays.items()
    }


def widen(schema: AdapterSchema, arrays: Arrays) -> dict[str, npt.NDArray[np.float32]]:
    """Factors of any rank as those of the schema's: what did not travel is zero.

    Raises
    ------
    ProtocolError
        If a factor is larger than the model's, or pairs differ in rank.
    """
    rank = rank_in(arrays)
    full = dict(zip(schema.names, schema.shapes, strict=True))
    wide = dict(arrays)
    for name in (*downs(schema.names), *ups(schema.names)):
        if name not in arrays:
            continue  # refused by name when the arrays are read
        array, shape = arrays[name], full[name]
        given = (rank, shape[1]) if name in downs([name]) else (shape[0], rank)
        if rank > min(shape) or array.shape != given:
            raise ProtocolError(f"adapter tensor {name!r}: shape {array.shape}, expected {given}")
        wide[name] = np.zeros(shape, dtype=np.float32)
        wide[name][: given[0], : given[1]] = array
    return wide


def rank_in(arrays: Arrays) -> int:
    """The rank of the factors that arrived; 0 if there are none."""
    names = downs(tuple(arrays))
    return int(arrays[names[0]].shape[0]) if names else 0


def leading(schema: AdapterSchema, rank: int) -> npt.NDArray[np.int64]:
    """Where the coordinates of a client of that rank lie in the full vector, int64 [narrow dim]."""
    whole = np.arange(schema.dim)
    bounds = np.cumsum(schema.sizes)[:-1]
    pieces = []
    shapes = narrowed(schema, rank).shapes
    for part, full, shape in zip(np.split(whole, bounds), schema.shapes, shapes, strict=True):
        pieces.append(part.reshape(full)[tuple(slice(n) for n in shape)].ravel())
    return np.concatenate(pieces)


def product_name(down: str) -> str:
    """What the product of a pair is called, after its A."""
    return down.replace(".lora_A.", ".lora_BA.")


def products(schema: AdapterSchema) -> AdapterSchema:
    """The schema in which every pair is its product [out, in]."""
    shapes = dict(zip(schema.names, schema.shapes, strict=True))
    for down, up in pairs(schema.names):
        shapes[product_name(down)] = (shapes.pop(up)[0], shapes.pop(down)[1])
    names = tuple(sorted(shapes))
    return AdapterSchema(names, tuple(shapes[name] for name in names))


def product_change(schema: AdapterSchema, start: Arrays, rank: int, delta: Tensor) -> Tensor:
    """How a client of a rank changed each product, and all else that it changed.

        (B + dB) (A + dA) - B A = dB (A + dA) + B dA

    Parameters
    ----------
    schema : AdapterSchema
        Of what is trained, at full rank.
    start : mapping of str to float32 array
        The global adapter as it was sent, at full rank.
    rank : int
    delta : Tensor float32 [narrow dim]

    Returns
    -------
    Tensor float32 [products(schema).dim]
        Infinite where a product is larger than float32 holds.
    """
    moved = narrowed(schema, rank).unflatten(delta.double())
    changed = {name: moved[name] for name in schema.names}
    for down, up in pairs(schema.names):
        a = torch.from_numpy(start[down][:rank]).double()  # [r, in]
        b = torch.from_numpy(start[up][:, :rank]).double()  # [out, r]
        d_a, d_b = changed.pop(down), changed.pop(up)
        changed[product_name(down)] = d_b @ (a + d_a) + b @ d_a
    return products(schema).flatten(changed).float()
