"""What of an adapter travels to a device, and how the device makes it whole again.

What a rule never changes every device builds itself, from the settings and the backbone. Should a
device build something else (other weights, another library), training would go wrong without a
word; so a sketch of it travels, a few numbers that the device compares.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from shared.aggregation.ranks import leading, narrowed, rank_in, widen
from shared.aggregation.rule import AggregationRule
from shared.errors import ProtocolError
from shared.model.adapter import AdapterSchema
from shared.update import Arrays, Update

SKETCH = "fixed"  # no tensor's name: those have dots
_TOLERANCE = 1e-3  # of a tensor's length: far above rounding, far below another draw's difference


def sent(rule: AggregationRule, arrays: Arrays) -> dict[str, npt.NDArray[np.float32]]:
    """What goes down to a device: the tensors that change, and a sketch of those that never do.

    Parameters
    ----------
    rule : AggregationRule
    arrays : mapping of str to float32 array
        The whole global adapter.
    """
    names = sorted(arrays)
    fixed = rule.fixed(names)
    kept = {*fixed, *rule.personal(names)}
    down = {name: arrays[name] for name in names if name not in kept}
    return {**down, SKETCH: sketch([arrays[name] for name in fixed])} if fixed else down


def sketch(tensors: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Each tensor on a direction that everyone knows, and its length: float32 [tensors, 2]."""
    rng = np.random.default_rng(0)
    flat = [np.ravel(tensor).astype(np.float64) for tensor in tensors]
    rows = [(x @ rng.standard_normal(x.size), np.linalg.norm(x)) for x in flat]
    return np.array(rows, dtype=np.float32)


def whole(
    rule: AggregationRule, schema: AdapterSchema, arrays: Arrays, own: torch.Tensor
) -> torch.Tensor:
    """The global adapter, float32 [dim], of what arrived and of the device's own fixed tensors.

    Parameters
    ----------
    rule : AggregationRule
    schema : AdapterSchema
        Of the device's model.
    arrays : mapping of str to ndarray
        As `sent` made them.
    own : Tensor float32 [dim]
        The adapter as this device built it.

    Raises
    ------
    ProtocolError
        If what arrived is not of this schema, or the fixed tensors here are not the server's.
    """
    if rule.ranks:
        arrays = widen(schema, arrays)
    fixed = rule.fixed(schema.names)
    missing = {*fixed, *rule.personal(schema.names)}
    if not missing:
        return schema.from_arrays(arrays)
    mine = schema.split(own.cpu().numpy())
    arrived = dict(arrays)
    if fixed:
        _compare(fixed, sketch([mine[name] for name in fixed]), arrived.pop(SKETCH, None))
    if odd := sorted(missing & set(arrived)):
        raise ProtocolError(f"adapter tensor {odd[0]!r}: was sent; {rule.name} keeps it on devices")
    return schema.from_arrays({**arrived, **{name: mine[name] for name in missing}})


def narrowed_update(
    rule: AggregationRule, trained: AdapterSchema, arrays: Arrays, update: Update
) -> Update:
    """What of an update goes up: as much of each factor as came down.

    Parameters
    ----------
    rule : AggregationRule
    trained : AdapterSchema
        Of what the round trains, at the model's full rank.
    arrays : mapping of str to ndarray
        What came down.
    update : Update
        One client's; zero beyond its rank.
    """
    if not rule.ranks:
        return update
    rank = rank_in(arrays)
    vector = update.vector[leading(trained, rank)]
    return replace(update, vector=vector, schema=narrowed(trained, rank).digest)


def _compare(
    names: tuple[str, ...],
    here: npt.NDArray[np.float32],
    there: npt.NDArray[np.float32] | None,
) -> None:
    if there is None or there.shape != here.shape:
        raise ProtocolError(f"adapter: expected two numbers on each of {len(names)} fixed tensors")
    apart = np.abs(here - there).max(axis=1)
    for name, distance, length in zip(names, apart, here[:, 1], strict=True):
        if not distance <= _TOLERANCE * length:  # also refuses NaN
            raise ProtocolError(
                f"adapter tensor {name!r}: is never sent, and this device's is not the server's; "
                "install the same weights and library versions"
            )
