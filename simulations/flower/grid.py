"""Flower Grids that run virtual clients in this process; the ServerApp above them is unchanged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from client.app import create_app
from client.device.device import Device
from client.device.staged import Stages
from client.messages import parse, reply
from client.secagg.identity import simulated_identity
from client.secagg.masking import Masking
from shared.data.population import Population, history_of
from shared.request import Request
from shared.update import Update
from simulations.engine.cohort import CohortEngine
from simulations.engine.examples import device_ledger
from simulations.engine.ranking import personal_file
from simulations.flower.agreed import check_agreed

if TYPE_CHECKING:
    from simulations.workers.engine import ShardedEngine

_RUN_ID = 1
SERVER_NODE = 1
_SECAGG = "secagg"  # the record of a node's state that keeps a sum's keys
_FIRST_NODE = 2  # node of key 0: Flower's server is node 1


def nodes_of(population: Population) -> Sequence[int]:
    """The virtual node of every person, in their order: their key, moved past Flower's own."""
    keys = population.keys
    if isinstance(keys, range):
        return range(keys.start + _FIRST_NODE, keys.stop + _FIRST_NODE)
    return [key + _FIRST_NODE for key in keys]


def key_of(node: int) -> int:
    """The key of the person that a virtual node stands for."""
    return node - _FIRST_NODE


def node_of(key: int) -> int:
    """The virtual node of a person."""
    return key + _FIRST_NODE


def virtual_masking(node: int, context: Context) -> Masking:
    """A virtual person's part in secure sums, kept in the node's state from message to message."""
    if _SECAGG not in context.state:
        context.state[_SECAGG] = ConfigRecord()
    kept = cast("MutableMapping[str, bytes]", context.state.config_records[_SECAGG])
    return Masking(node, simulated_identity(key_of(node)), kept)


class VirtualGrid(Grid):
    """A Grid whose nodes are the users of a population.

    Parameters
    ----------
    engine : CohortEngine or ShardedEngine
        Owns population and model, or those who do.
    state : Path, optional
        Folder of what the virtual devices keep between rounds: their own ledgers. Tensors of their
        own lie near it, see `simulations.engine.ranking.personal_file`.
    """

    simulated = True  # read by the ServerApp: noise may be seeded, clients may be merged
    protocol: Mapping[str, object] | None = None  # among what people are ranked, where it is known

    def __init__(self, engine: CohortEngine | ShardedEngine, state: Path | None = None) -> None:
        self.engine = engine
        self.state = state
        self._nodes = nodes_of(engine.population)
        self._run = Run.create_empty(_RUN_ID)
        self._sent = 0
        self._replies: dict[str, Message] = {}
        self._contexts: dict[int, Context] = {}

    def context(self, node: int) -> Context:
        """What Flower keeps of a node from message to message."""
        if node not in self._contexts:
            self._contexts[node] = Context(_RUN_ID, node, {}, RecordDict(), {})
        return self._contexts[node]

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

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
        """One node per user: see `nodes_of`."""
        return self._nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Run the messages at once and keep their replies."""
        sent = self._number(messages)
        self._replies |= {r.metadata.reply_to_message_id: r for r in self._answer(sent)}
        return [message.metadata.message_id for message in sent]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that have not been pulled yet."""
        return [self._replies.pop(i) for i in message_ids if i in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Run the messages; replies stream, so that a sum holds one micro-batch at a time."""
        return self._answer(self._number(messages))

    def _number(self, messages: Iterable[Message]) -> list[Message]:
        sent = list(messages)
        for message in sent:
            self._sent += 1
            # Flower's link sets identifiers in its own processes; this is the one place for ours.
            message.metadata.__dict__["_message_id"] = str(self._sent)
        return sent

    @abstractmethod
    def _answer(self, messages: list[Message]) -> Iterator[Message]:
        """Replies to messages that share one type."""


class CohortGrid(VirtualGrid):
    """Trains a whole cohort as one batch; merges replies where the server allows it."""

    def _answer(self, messages: list[Message]) -> Iterator[Message]:
        for alike in _alike(messages):
            yield from self._answer_alike(alike)

    def _answer_alike(self, messages: list[Message]) -> Iterator[Message]:
        request = parse(messages[0])
        check_agreed(request, self.engine.schema.digest)
        if request.stage:
            for message in messages:
                node = message.metadata.dst_node_id
                yield reply(message, self._masking(node).letter(parse(message)), [node])
            return
        by_key = {key_of(message.metadata.dst_node_id): message for message in messages}
        for members, answer in self.engine.answer(request, list(by_key), self.state):
            request.check(answer)
            nodes = [node_of(key) for key in members]
            asked = by_key[members[0]]
            if request.sealed and isinstance(answer, Update):
                answer = self._masking(nodes[0]).masked(parse(asked), answer)
            yield reply(asked, answer, nodes)

    def _masking(self, node: int) -> Masking:
        return virtual_masking(node, self.context(node))


def _alike(messages: list[Message]) -> list[list[Message]]:
    """Messages by what they are about: clients of one rank are told the same."""
    groups: dict[str, list[Message]] = {}
    for message in messages:
        about = str(message.content.config_records["config"]["schema"])
        groups.setdefault(about, []).append(message)
    return list(groups.values())


class SequentialGrid(VirtualGrid):
    """One client at a time through the real ClientApp: slow, obvious, the oracle of the others."""

    def __init__(self, engine: CohortEngine, state: Path | None = None) -> None:
        super().__init__(engine, state)
        self._recommender = engine.recommender
        self._app = create_app(self._device, evaluator=True)

    def _device(self, context: Context, request: Request) -> Device | Stages:
        check_agreed(request, self.engine.schema.digest)
        if request.stage:
            return Stages(virtual_masking(context.node_id, context), simulated=True)
        key = key_of(context.node_id)
        return Device(
            history_of(self.engine.population, key),
            key,
            self._recommender,
            device_ledger(self.state, key),
            personal=personal_file(self.state),
            masking=virtual_masking(context.node_id, context),
            simulated=True,
        )

    def _answer(self, messages: list[Message]) -> Iterator[Message]:
        for message in messages:
            yield self._app(message, self.context(message.metadata.dst_node_id))


def run_app(app: ServerApp, grid: Grid, run_config: Mapping[str, str | bool]) -> None:
    """Run an unmodified ServerApp over a grid, in this process.

    Flower fills in the identity of the running task itself only inside its own processes; this is
    the one place that does it for ours.
    """
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, _RUN_ID, SERVER_NODE
    context = Context(_RUN_ID, SERVER_NODE, {}, RecordDict(), dict(run_config))
    with torch.random.fork_rng(devices=[]):
        app(grid, context)
