"""Sums in a ring read as numbers: the whole of one, and never a part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce

import numpy as np

from shared.privacy.plan.summed import SummedForm
from shared.secagg.ring import Words
from shared.update import Update


def opened(updates: Iterable[Update], form: SummedForm) -> Iterator[Update]:
    """The sum of all messages in real numbers; nothing where it holds too few of them.

    Nothing but the whole sum is ever read as numbers: a part of it hides less, or has a part of the
    noise.

    Parameters
    ----------
    updates : iterable of Update
        Checked elements of the form's ring.
    form : SummedForm

    Yields
    ------
    Update
        One, of float64 [dim]; none with fewer users in it than `form.fewest`.
    """
    messages = iter(updates)
    first = next(messages, None)
    if first is None:
        return
    total = reduce(Update.__add__, messages, first)
    if total.weight >= form.fewest:
        yield read(total.vector, int(total.weight), form, total.schema)


def read(total: Words, users: int, form: SummedForm, schema: str) -> Update:
    """A sum of so many users' messages in real numbers, float64 [dim]."""
    vector = form.decode(total)
    norm = float(np.linalg.norm(vector))
    return Update(vector, float(users), norm, schema, bits=form.bits(total))
