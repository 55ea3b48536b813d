"""What a cohort answers for a sum: message by message, or added up before anyone sees it.

how it arrives    where                              what the server reads
one by one        central trust, or noise of its own each answer
in a ring         noise in shares, in a simulation   the sum alone, of messages it could read
secure sum        real devices, unless turned off    the sum alone, by `server.secagg.rounds`
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from flwr.serverapp import Grid

from server.cohort.sampling import node_ids
from server.exchange import Open
from server.messages import TIMEOUT, Replies, messages
from server.release.releases import Releasing
from server.secagg.opening import opened, read
from server.secagg.rounds import secure_sum
from shared.errors import ConfigError
from shared.privacy.contribution.units import devices_share_noise, sums_in_ring, sums_securely
from shared.privacy.plan.summed import SummedForm, summed_form
from shared.request import Request
from shared.secagg.parameters import MOST_DEVICES
from shared.update import Update


@dataclass(frozen=True)
class Expected:
    """What one person's answer may be.

    Attributes
    ----------
    schema : str
    dim : int
        Its numbers.
    limit : float or None
        The largest L2 norm that it may arrive with; None if it is not bounded.
    opener : callable, optional
        Makes what is summed of what arrives, see `server.exchange`.
    """

    schema: str
    dim: int
    limit: float | None
    opener: Open | None = None


@dataclass
class Answers:
    """Of one cohort.

    Attributes
    ----------
    replies : Replies
        Who answered, complete once all updates were read.
    updates : iterable of Update
        To be added up, in real numbers: each one's, or their sum.
    form : SummedForm or None
        Of a sum that is not of single answers.
    alone : bool
        Whether the sum is zero, as of nobody: a cohort too small to hide in, or too few left.
    """

    replies: Replies
    updates: Iterable[Update]
    form: SummedForm | None = None
    alone: bool = False

    @property
    def are_enough(self) -> bool:
        """Whether their sum may be released, now that all updates were read."""
        return self.form is None or self.alone or len(self.replies.answered) >= self.form.fewest


Addressed = Sequence[tuple[Request, Sequence[int]]]


def is_secured(request: Request, *, simulated: bool) -> bool:
    """Whether a request's answers are summed before the server sees any."""
    return sums_securely(request.config, simulated=simulated)


def check_cohorts(asking: Request, kinds: Sequence[str]) -> None:
    """Refuse cohorts that no secure sum takes, before anybody is asked.

    Raises
    ------
    ConfigError
    """
    if not is_secured(asking, simulated=asking.merge):
        return
    named = {"update": "cohort (--cohort)", "metrics": "metrics_cohort"}
    for kind in kinds:
        form = form_of(replace(asking, release=kind), simulated=asking.merge)
        if form is not None and form.most > MOST_DEVICES:
            raise ConfigError(
                f"federation.{named.get(kind, 'popularity_cohort')}: as many as {form.most} "
                f"devices may be in a secure sum, and it takes {MOST_DEVICES} at most; give a "
                "smaller one, or federation.secure_aggregation = off"
            )


def form_of(request: Request, *, simulated: bool) -> SummedForm | None:
    """How answers to a request are added up in a ring; None where each is read as it is."""
    if not sums_in_ring(request.config, simulated=simulated):
        return None
    about = (request.release, request.clip, request.round_number)
    return summed_form(request.config, request.users, *about)


def connected(grid: Grid, asking: Request, kind: str, sampled: float) -> Sequence[int]:
    """The nodes that a cohort is drawn from, once enough are there for its sum to be opened.

    Parameters
    ----------
    grid : Grid
    asking : Request
    kind : str
        Of the release.
    sampled : float
        Share of them that is expected in the cohort, in (0, 1].
    """
    if asking.merge:  # a simulation's people are all there
        return node_ids(grid)
    form = form_of(replace(asking, release=kind), simulated=False)
    enough = 1 if form is None else math.ceil(form.fewest / sampled)
    return node_ids(grid, min(enough, asking.users))


def ask_for_sum(
    grid: Grid,
    addressed: Addressed,
    expected: Expected,
    releases: Releasing,
    *,
    simulated: bool,
) -> Answers:
    """Put a request to a cohort for the sum of its answers.

    A release whose noise the devices add is on record before anything of it can be known: before
    they are asked, or before a secure sum is unmasked. A round is on record also where too few are
    left in its sum, as a record with gaps could not be told from one with lines taken out: where
    the server adds noise it is then a round of nobody. What is asked for once is not opened then.

    Parameters
    ----------
    grid : Grid
    addressed : sequence of (Request, sequence of int)
        Who is asked what: one request for all, unless clients have several ranks.
    expected : Expected
    releases : Releasing
    simulated : bool
        Whether one trusted process runs all nodes.

    Raises
    ------
    ConfigError
        If no ring holds such a sum: nothing was counted.
    BudgetExceeded, LedgerError
        As `Releases.announce`: nothing was revealed.
    """
    request, nodes = addressed[0]
    form = form_of(request, simulated=simulated)
    announce = partial(releases.announce, request.release, request.round_number)
    if form is None:
        announce()
        letters = [one for to_some, some in addressed for one in messages(to_some, some)]
        everyone = [node for _, some in addressed for node in some]
        replies = Replies(grid.send_and_receive(letters, timeout=TIMEOUT), everyone, request)
        whole = (expected.schema, expected.dim, expected.limit)
        return Answers(replies, replies.updates(*whole, opened=expected.opener))
    secured, nodes = is_secured(request, simulated=simulated), nodes[: form.most]
    size = form.size(expected.dim)  # refused, where no ring holds it, before it is counted
    shared = devices_share_noise(request.config)
    of_round = request.release == "update"
    if len(nodes) < form.fewest:
        if of_round or not secured:
            announce()
        return Answers(Replies([], [], request), [], form, alone=not shared)
    if secured:
        request = replace(request, merge=False)
        found = secure_sum(grid, request, nodes, form, (expected.schema, size), announce)
        if found.total is None:
            if of_round and not found.committed:
                announce()
            return Answers(found.replies, [], form, alone=of_round and not shared)
        count = len(found.replies.answered)
        return _opened(found.replies, [read(found.total, count, form, expected.schema)], form)
    announce()
    replies = Replies(
        grid.send_and_receive(messages(request, nodes), timeout=TIMEOUT), nodes, request
    )
    elements = replies.updates(expected.schema, size, None, form.ring)
    return _opened(replies, opened(elements, form), form)


def _opened(replies: Replies, total: list[Update], form: SummedForm) -> Answers:
    replies.bits = sum(each.bits for each in total)  # nobody's own was told
    return Answers(replies, total, form)
