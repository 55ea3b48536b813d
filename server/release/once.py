"""A sum over people that is asked for once, before the first round: counted, then noised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from server.checkpoint import ServerState
from server.messages import ask
from server.release.releases import Releasing
from server.secagg.opening import opened
from shared.privacy.plan.summed import summed_form
from shared.request import Request


class Expected(NamedTuple):
    """What one person's answer may be.

    Attributes
    ----------
    name : str
        Of the sum, in errors.
    schema : str
    dim : int
        Its numbers.
    limit : float or None
        The largest L2 norm that it may arrive with; None if it is not bounded.
    """

    name: str
    schema: str
    dim: int
    limit: float | None


def released_once(
    grid: Grid,
    request: Request,
    asked: Sequence[int],
    expected: Expected,
    state: ServerState,
    releases: Releasing,
) -> npt.NDArray[np.float64] | None:
    """The sum of what devices answer, as it may be released; on the ledger before any noise.

    Parameters
    ----------
    grid : Grid
    request : Request
        Its `release` is the ledger's word for it.
    asked : sequence of int
        Nodes: a sample of all.
    expected : Expected
    state : ServerState
        Its position on the ledger is advanced.
    releases : Releasing

    Returns
    -------
    float64 [expected.dim] or None
        None where noise comes in shares and too few answered: spent, and not opened.

    Raises
    ------
    ConfigError
        If a ring does not hold such sums: nothing was counted.
    EngineError
        In a simulation, if devices that were asked all failed.
    """
    kind = request.release
    shares = releases.shares(kind)
    form = summed_form(request.config, request.users, kind) if shares else None
    sent = form.size(expected.dim) if form else expected.dim  # refused before it is counted
    releases.announce(kind, 0)
    replies = ask(grid, request, asked)
    total = np.zeros(expected.dim)
    ring = form.ring if form else None
    updates = replies.updates(expected.schema, sent, expected.limit, ring)
    for update in opened(updates, form) if form else updates:
        total += update.vector
    if request.merge:
        replies.check_some_counted(expected.name)
    state.ledger = releases.position()
    if form and len(replies.answered) < form.fewest:
        return None
    released = releases.release(kind, total, 0)
    state.ledger = releases.position()
    return released
