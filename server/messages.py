"""Flower messages as the server sees them: requests built, replies checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from shared.canonical import policy_digest
from shared.errors import DECLINED, EngineError, ProtocolError
from shared.request import Request
from shared.secagg.ring import Ring
from shared.update import Update

TIMEOUT = 3600  # seconds that a device may take to answer

# Reading a record that a client made up can raise anything: of archives, headers, sizes beyond
# memory. Whatever it is, the reply does not count, and the run goes on.
_MALFORMED = Exception


def messages(
    request: Request, nodes: Sequence[int], sealed: Mapping[int, bytes] | None = None
) -> list[Message]:
    """One message per node, all sharing one content; or each with what is sealed for it."""
    arrays = {name: Array(array) for name, array in request.arrays.items()}
    record = ArrayRecord(arrays) if arrays else None

    def content(fields: Mapping[str, str | int | float | bytes]) -> RecordDict:
        found = RecordDict({"config": ConfigRecord({**fields})})
        if record is not None:
            found["arrays"] = record
        return found

    fields = request.fields()
    if sealed is None:
        same = content(fields)
        return [Message(same, dst_node_id=node, message_type=request.message) for node in nodes]
    own = {node: content(fields | {"sealed": sealed[node]}) for node in nodes}
    return [Message(own[node], dst_node_id=node, message_type=request.message) for node in nodes]


def ask(
    grid: Grid,
    request: Request,
    nodes: Sequence[int],
    sealed: Mapping[int, bytes] | None = None,
    timeout: float = TIMEOUT,
) -> Replies:
    """Put one request to some nodes; their replies, to be checked as they arrive."""
    answers = grid.send_and_receive(messages(request, nodes, sealed), timeout=timeout)
    return Replies(answers, nodes, request)


class Replies:
    """Checked replies of one exchange: every node counts at most once, and only if it was asked.

    Parameters
    ----------
    replies : iterable of Message
    asked : sequence of int
        The nodes that requests went to.
    request : Request
        What they were asked: a reply about another round or policy does not count. It says `merge`
        only where one trusted process runs all nodes, as in a simulation: otherwise a node speaks
        for itself alone, and its norm is checked as such.

    Attributes
    ----------
    failures : list of str
        One line per reply that did not count, the same whatever it held: neither a client's
        exception text nor a number of its update is repeated.
    declined : list of str
        Of the nodes that do not take part, a word each: their right, not a failure.
    answered : set of int
        The nodes whose replies counted.
    bits : float
        Sum of the bits of the updates that counted so far.
    latest : int
        The node whose reply counted last.
    """

    def __init__(
        self,
        replies: Iterable[Message],
        asked: Sequence[int],
        request: Request,
    ) -> None:
        self._replies = replies
        self._merge = request.merge
        self._round = request.round_number
        self._policy = policy_digest(request.policy)
        self._asked = set(asked)
        self.answered: set[int] = set()
        self.failures: list[str] = []
        self.declined: list[str] = []
        self.bits = 0.0
        self.latest = 0

    def take(self, others: Replies) -> None:
        """Tell from now on also what is told of an exchange that is part of this one."""
        others.failures, others.declined = self.failures, self.declined

    def updates(
        self,
        schema: str,
        dim: int,
        clip_norm: float | None,
        ring: Ring | None = None,
        opened: Callable[[Update, list[int]], Update] | None = None,
    ) -> Iterable[Update]:
        """Updates as they arrive, each checked for schema, size, finiteness and norm, or its ring.

        One that fails a check is dropped and listed in `failures`: it contributes nothing, as a
        client that went away, and cannot end the run for everyone else. `opened` makes what is
        summed of what arrived and of whose it is, and the checks are of that.
        """
        for content, members in self._contents():
            try:
                update = _read_update(content, dim)
                update = opened(update, members) if opened else update
                update.check(schema, dim, clip_norm, ring)
                if update.weight != len(members):
                    raise ProtocolError("update weight: expected one for each user that it is of")
            except _MALFORMED as error:
                self.failures.append(_refused("an update", error))
                continue
            self.answered |= set(members)
            self.bits += update.bits
            self.latest = members[0]
            yield update

    def letters(self) -> dict[int, bytes]:
        """What nodes answered in a stage of a secure sum, to be read by `shared.secagg`."""
        found = {}
        for content, members in self._contents():
            letter = content.config_records["config"].get("letter")
            if not isinstance(letter, bytes) or len(members) != 1:
                self.failures.append(_refused("a letter", ProtocolError("expected bytes, of one")))
                continue
            self.answered |= set(members)
            found[members[0]] = letter
        return found

    def ranks(self) -> tuple[list[int], list[int]]:
        """Sampled and full ranks of all users that could be evaluated, in the order of nodes."""
        found: list[tuple[list[int], tuple[list[int], list[int]]]] = []
        for content, members in self._contents():
            try:
                pairs = _read_ranks(content, len(members))
            except _MALFORMED as error:
                self.failures.append(_refused("ranks", error))
                continue
            self.answered |= set(members)
            found.append((members, pairs))
        found.sort(key=lambda each: each[0])  # replies come in any order, each one's people in this
        sampled, full = ([rank for _, of in found for rank in of[which]] for which in (0, 1))
        return sampled, full

    def check_some_counted(self, what: str) -> None:
        """In a simulation, where no device is away: refuse to go on where all of them failed.

        Raises
        ------
        EngineError
        """
        if self.failures and not self.answered:
            raise EngineError(f"{what}: no update counted: {self.failures[0]}")

    def _contents(self) -> Iterable[tuple[RecordDict, list[int]]]:
        seen: set[int] = set()
        for reply in self._replies:
            if reply.has_error():
                self.failures.append(f"a client failed (error code {reply.error.code})")
                continue
            try:
                fields = reply.content.config_records["config"]
                members = [*cast(list[int], fields["contributors"])]
            except _MALFORMED:
                self.failures.append("refused a reply that does not say whose it is")
                continue
            other = self._other_exchange(fields)
            if other:
                self.failures.append(other)
                continue
            fresh = set(members)
            if not self._merge and members != [reply.metadata.src_node_id]:
                self.failures.append("refused a reply that speaks for another node")
                continue
            if len(fresh) != len(members) or fresh & seen or not fresh <= self._asked:
                self.failures.append("refused a reply that names a node twice or one not asked")
                continue
            seen |= fresh
            if "declined" in fields:
                word = fields["declined"]
                self.declined.append(str(word) if word in DECLINED else "other")
                continue
            yield reply.content, members

    def _other_exchange(self, fields: ConfigRecord) -> str:
        """In what a reply belongs to another exchange than this one; empty if in nothing."""
        if fields.get("round") != self._round or isinstance(fields["round"], bool):
            return f"refused a reply of another round than {self._round}"
        if fields.get("policy") != self._policy:
            return "refused a reply under another policy"
        return ""


def _refused(what: str, error: Exception) -> str:
    """Why, without anything that a client sent: our own errors quote none of it."""
    return f"refused {what}: {error if isinstance(error, ProtocolError) else 'malformed'}"


def _read_update(content: RecordDict, dim: int) -> Update:
    metrics = content.metric_records["metrics"]
    ring = int(cast(int, metrics["ring"]))
    vector = np.asarray(content.array_records["update"]["vector"].numpy())
    return Update(
        Ring(ring).unpack(vector.tobytes(), dim) if ring else vector,
        float(cast(float, metrics["weight"])),
        float(cast(float, metrics["norm"])),
        str(content.config_records["config"]["schema"]),
        ring,
        float(cast(float, metrics["bits"])),
    )


def _read_ranks(content: RecordDict, users: int) -> tuple[list[int], list[int]]:
    metrics = content.metric_records["metrics"]
    sampled, full = (cast(list[int], metrics[name]) for name in ("sampled", "full"))
    whole = all(isinstance(rank, int) and rank >= 0 for rank in [*sampled, *full])
    if not whole or len(sampled) != len(full) or len(full) > users:
        raise ProtocolError(f"expected two ranks >= 0 for each of at most {users} users")
    return sampled, full
