"""Flower's own simulated grid, whose nodes go by the keys of the people they stand for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from shared.errors import EngineError, last_line

_POLL = 0.02  # seconds between looks for replies


class PeopleGrid(Grid):
    """A Grid over another one that calls every node by its person, however Flower numbers it.

    So the server draws the same people on every engine, and after a restart; and replies arrive in
    the order of the requests, so that a sum does not depend on which worker was faster.

    Parameters
    ----------
    grid : Grid
        Flower's.
    nodes : sequence of int
        Flower's node of each person.
    people : sequence of int
        As what each is known here, in the same order: see `simulations.flower.grid.nodes_of`.
    window : int
        Messages under way at once, at least 1: bounds memory.
    check : callable
        Called while waiting; raises if nobody is left to answer.
    """

    simulated = True  # read by the ServerApp: noise may be seeded
    protocol: Mapping[str, object] | None = None  # among what people are ranked, where it is known

    def __init__(
        self,
        grid: Grid,
        nodes: Sequence[int],
        people: Sequence[int],
        window: int = 64,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._grid = grid
        self._people = people
        self._node = dict(zip(people, nodes, strict=True))
        self._person = dict(zip(nodes, people, strict=True))
        self._window = window
        self._check = check

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The run."""
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """The node of every person, in order."""
        return self._people

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages."""
        return self._grid.push_messages([self._to(message) for message in messages])

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that have not been pulled yet."""
        return [self._of(reply) for reply in self._grid.pull_messages(message_ids)]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Replies in the order of the messages, as they come.

        No timeout applies: a virtual device is not away, it is waited for. One that fails ends the
        run, as it does in the engines that run it in the server's own process.

        Raises
        ------
        EngineError
            While iterating, if a client fails or the runtime ends.
        """
        return self._exchange(deque(messages))

    def _exchange(self, waiting: deque[Message]) -> Iterator[Message]:
        sent: deque[str] = deque()
        replies: dict[str, Message] = {}
        while waiting or sent:
            while waiting and len(sent) < self._window:
                sent.extend(self.push_messages([waiting.popleft()]))
            missing = [identifier for identifier in sent if identifier not in replies]
            for reply in self.pull_messages(missing):
                replies[reply.metadata.reply_to_message_id] = reply
            if sent and sent[0] not in replies:
                self._check()
                time.sleep(_POLL)
            while sent and sent[0] in replies:
                yield _good(replies.pop(sent.popleft()))

    def _to(self, message: Message) -> Message:
        """Addressed to the node that Flower knows."""
        message.metadata.dst_node_id = self._node[message.metadata.dst_node_id]
        return message

    def _of(self, reply: Message) -> Message:
        """Of the person, where Flower's node would be named."""
        person = self._person[reply.metadata.src_node_id]
        # Flower lets nobody set who sent a message; this is the one place for these.
        reply.metadata.__dict__["_src_node_id"] = person
        if not reply.has_error() and "config" in reply.content.config_records:
            reply.content.config_records["config"]["contributors"] = [person]
        return reply


def _good(reply: Message) -> Message:
    if reply.has_error():
        raise EngineError(f"a virtual device failed: {last_line(reply.error.reason or '')}")
    return reply
