"""The server's side of sums that it learns nothing else of: add in the ring, count, then open."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce

import numpy as np
import numpy.typing as npt

from shared.privacy.plan.summed import SummedForm
from shared.update import Update


def opened(updates: Iterable[Update], form: SummedForm) -> list[Update]:
    """The sum of all messages in real numbers; nothing where too few are in it, or too many.

    Nothing but the whole sum is ever read as numbers: a part of it has a part of the noise.

    Parameters
    ----------
    updates : iterable of Update
        Checked elements of the form's ring.
    form : SummedForm

    Returns
    -------
    list of Update
        One, of float64 [dim], with the sum of the bits if there are any; none with fewer users in
        it than `form.fewest`, or more than `form.most`.
    """
    messages = iter(updates)
    first = next(messages, None)
    if first is None:
        return []
    total = reduce(Update.__add__, messages, first)
    if not form.fewest <= total.weight <= form.most:
        return []
    vector, bits = form.decode(total.vector), form.bits(total.vector)
    return [Update(vector, total.weight, float(np.linalg.norm(vector)), total.schema, bits=bits)]


def norms(total: npt.NDArray[np.float64], form: SummedForm, devices: int) -> tuple[float, float]:
    """Estimated norms of what a noised sum [dim] holds: of the signal, and of the noise.

    Exact ones nobody knows: the sum arrives with its noise.
    """
    noise = form.noise_norm(devices, total.size)
    return math.sqrt(max(0.0, float(total @ total) - noise**2)), noise
