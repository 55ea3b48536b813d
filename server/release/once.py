"""A sum over people that is asked for once, before the first round: counted, then noised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from server.checkpoint import ServerState
from server.release.releases import Releasing
from server.release.sums import Expected, ask_for_sum
from shared.request import Request


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
        None where a sum alone may be seen and too few answered: not opened.

    Raises
    ------
    EngineError
        In a simulation, if devices that were asked all failed.
    """
    kind, simulated = request.release, request.merge
    answers = ask_for_sum(grid, [(request, asked)], expected, releases, simulated=simulated)
    total = np.zeros(expected.dim)
    for update in answers.updates:
        total += update.vector
    if simulated:
        answers.replies.check_some_counted(kind)
    state.ledger = releases.position()
    if not answers.are_enough:
        return None
    released = releases.release(kind, total, request.round_number)
    state.ledger = releases.position()
    return answers.form.fold(released) if answers.form else released
