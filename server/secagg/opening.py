"""Sums in a ring read as numbers: the whole of one, and never a part."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import numpy as np

from shared.privacy.plan.summed import SummedForm
from shared.secagg.ring import Words
from shared.update import Update


def opened(updates: Iterable[Update], form: SummedForm) -> list[Update]:
    """The sum of all messages in real numbers; nothing where too few are in it, or too many.

    Nothing but the whole sum is ever read as numbers: a part of it hides less, or has a part of the
    noise.

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
    return [read(total.vector, int(total.weight), form, total.schema)]


def read(total: Words, users: int, form: SummedForm, schema: str) -> Update:
    """A sum of so many users' messages in real numbers, float64 [dim]."""
    vector = form.decode(total)
    norm = float(np.linalg.norm(vector))
    return Update(vector, float(users), norm, schema, bits=form.bits(total))
