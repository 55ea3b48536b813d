"""A secure sum: five exchanges with a cohort, and nothing but their sum at the end.

    1. keys       each device says its fresh, signed keys
    2. seeds      each shares the secrets of its masks with its neighbours, through the server
    3. (release)  each sends what it adds, masked: the release's own message
    4. survivors  each signs whose messages arrived: two versions of that cannot both be signed
    5. unmask     each gives up one secret of every neighbour: the mask over its own message if that
                  arrived, else those that it shares with others; never both

Between 4 and 5 the release is recorded, where the devices noise it: before that nothing is
revealed, whoever is left.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from flwr.serverapp import Grid

from server.messages import Replies, ask
from shared.errors import SecureAggregationError
from shared.privacy.plan.summed import SummedForm
from shared.request import Request
from shared.secagg.aggregator import Aggregator
from shared.secagg.ring import Words
from shared.secagg.session import Session

STAGE_TIMEOUT = 600  # seconds: a stage needs no training


@dataclass
class SecureSum:
    """What came of it.

    Attributes
    ----------
    replies : Replies
        Who is in the sum, and why others are not, of all exchanges.
    total : array of the ring's words [dim], or None
        None where too few were left: nothing was revealed.
    committed : bool
        Whether it came so far that it could have been.
    """

    replies: Replies
    total: Words | None
    committed: bool


def secure_sum(
    grid: Grid,
    request: Request,
    nodes: Sequence[int],
    form: SummedForm,
    about: tuple[str, int],
    commit: Callable[[], None],
) -> SecureSum:
    """Ask nodes for a release so that the server learns their sum alone.

    Parameters
    ----------
    grid : Grid
    request : Request
        For the release itself.
    nodes : sequence of int
    form : SummedForm
        Ring, and the fewest contributions that are opened.
    about : (str, int)
        Schema and size of what is summed.
    commit : callable
        Called before anything is revealed: what it raises ends the run with nothing revealed.
    """
    schema, dim = about
    colluding = request.config.privacy.colluding
    session = Session(
        request.about, secrets.token_bytes(16), form.ring.bits, dim, form.fewest, colluding
    )
    exchanges = _Exchanges(grid, request)
    sums, committed = Aggregator(session), False
    try:
        advertised = exchanges.stage("keys", nodes, session.to_bytes())
        adverts = sums.adverts(advertised)
        deliveries = sums.deliveries(exchanges.stage("seeds", list(advertised), adverts))
        masked = exchanges.masked(deliveries, schema, dim, form)
        summed = [node for node, elements in masked if sums.add(node, elements)]
        survivors = sums.survivors()
        agreed = exchanges.stage("survivors", summed, survivors)
        quorum = sums.quorum(agreed)
        committed = True
        commit()
        total = sums.total(exchanges.stage("unmask", list(agreed), quorum))
    except SecureAggregationError as error:
        # Not how many there were: whoever reads a log need not know the size of a cohort.
        failed = [*refused(sums), f"secure sum: {type(error).__name__}"]
        return SecureSum(exchanges.end((), failed), None, committed)
    return SecureSum(exchanges.end(summed, refused(sums)), total, committed)


def refused(sums: Aggregator) -> list[str]:
    """For every letter that did not count the same words, whosever and whatever it was."""
    return ["refused a letter of a secure sum"] * len(sums.failures)


class _Exchanges:
    """The messages of one sum, and what is to be told of them all."""

    def __init__(self, grid: Grid, request: Request) -> None:
        self._grid = grid
        self._request = request
        self._about = replace(request, arrays={}, schema="", content=request.digest)
        self._replies = Replies([], [], request)

    def stage(self, name: str, nodes: Sequence[int], content: bytes) -> Mapping[int, bytes]:
        """One letter from each node that answers."""
        about = replace(self._about, stage=name, sealed=content)
        self._replies.take(replies := ask(self._grid, about, nodes, timeout=STAGE_TIMEOUT))
        return replies.letters()

    def masked(
        self, deliveries: Mapping[int, bytes], schema: str, dim: int, form: SummedForm
    ) -> Iterator[tuple[int, Words]]:
        """What each adds, masked, as it arrives."""
        replies = ask(self._grid, self._request, list(deliveries), deliveries)
        self._replies.take(replies)
        for update in replies.updates(schema, dim, None, form.ring):
            yield replies.latest, update.vector

    def end(self, summed: Sequence[int], failures: Sequence[str]) -> Replies:
        self._replies.answered = set(summed)
        self._replies.failures.extend(failures)
        return self._replies
