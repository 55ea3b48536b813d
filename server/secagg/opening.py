"""The server's side of sums whose noise comes in shares: add in the ring, count, then open."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce

import numpy as np
import numpy.typing as npt

from shared.privacy.mechanisms.distributed import SkellamMechanism
from shared.update import Update


def opened(updates: Iterable[Update], mechanism: SkellamMechanism) -> list[Update]:
    """The sum of all messages in real numbers; nothing where too few noised it.

    Nothing but the whole sum is ever read as numbers: a part of it has a part of the noise.

    Parameters
    ----------
    updates : iterable of Update
        Checked elements of the mechanism's ring.
    mechanism : SkellamMechanism

    Returns
    -------
    list of Update
        One, of float64 [dim]; none with fewer users in it than `mechanism.survivors`.
    """
    messages = iter(updates)
    first = next(messages, None)
    if first is None:
        return []
    total = reduce(Update.__add__, messages, first)
    if total.weight < mechanism.survivors:
        return []
    vector = mechanism.open(total.vector)
    return [Update(vector, total.weight, float(np.linalg.norm(vector)), total.schema)]


def norms(
    total: npt.NDArray[np.float64], mechanism: SkellamMechanism, devices: int
) -> tuple[float, float]:
    """Estimated norms of what a noised sum [dim] holds: of the signal, and of the noise.

    Exact ones nobody knows: the sum arrives with its noise.
    """
    noise = mechanism.grid.step * math.sqrt(devices * mechanism.share * total.size)
    return math.sqrt(max(0.0, float(total @ total) - noise**2)), noise
