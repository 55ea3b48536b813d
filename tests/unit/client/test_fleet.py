"""What a broken connection to the server costs a node."""

import os
import signal

import httpx
import pytest
from flwr.app import Message as FlowerMessage
from flwr.app import RecordDict
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    Message,
    Metadata,
    PullObjectRequest,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supernode.nodestate import NodeStateFactory
from flwr.supernode.start_client_internal import _pull_and_store_message

import client.fleet
from client.fleet import SteadyFleet

KEY = b"a node's"
TAKEN = ConfirmMessageReceivedRequest


class Server:
    """Answers as a SuperLink does; each call that is due to fail fails so."""

    def __init__(self, failing=()):
        self.heard, self._failing = [], dict(failing)

    def __call__(self, request):
        name = request.url.path.rpartition("/")[2]
        self.heard.append(name)
        if errors := self._failing.get(name):
            failure = errors.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return httpx.Response(failure)
        answer = {
            "activate-node": ActivateNodeResponse(node_id=7),
            "send-node-heartbeat": SendNodeHeartbeatResponse(success=True),
        }.get(name)
        content = answer.SerializeToString() if answer else b""
        return httpx.Response(200, headers={"content-type": MEDIA}, content=content)


MEDIA = "application/protobuf"


@pytest.fixture
def connected(monkeypatch):
    """A node that is active at a server, and between its sleeps beats."""

    def made(server, kind=SteadyFleet):
        node = kind("https://server.example")
        node._client = httpx.Client(transport=httpx.MockTransport(server))
        node.ActivateNode(ActivateNodeRequest(public_key=KEY, heartbeat_interval=30))
        asked = SendNodeHeartbeatRequest(node=Node(node_id=7), heartbeat_interval=30)
        monkeypatch.setattr(client.fleet.time, "sleep", lambda _: node.SendNodeHeartbeat(asked))
        server.heard.clear()
        return node

    return made


def test_a_message_that_may_be_lost_is_given_up_by_leaving_and_returning(connected):
    """The server hands it out once, and would wait for its answer."""
    broken, down = httpx.ReadError("broke"), httpx.ConnectError("refused")
    server = Server({"pull-messages": [broken], "deactivate-node": [down, 503, 412]})
    node = connected(server)
    with pytest.raises(httpx.ReadError):
        node.PullMessages(PullMessagesRequest(node=Node(node_id=7)))
    gone = ["deactivate-node"] * 3
    assert server.heard == ["pull-messages", *gone, "activate-node"], "no heartbeat in between"
    node.PullMessages(PullMessagesRequest(node=Node(node_id=7)))
    client.fleet.time.sleep(1)
    assert server.heard[-2:] == ["pull-messages", "send-node-heartbeat"]


def test_what_was_never_asked_loses_nothing(connected):
    node = connected(server := Server({"pull-messages": [httpx.ConnectError("refused"), 503]}))
    for error in (httpx.ConnectError, httpx.HTTPStatusError):
        with pytest.raises(error):
            node.PullMessages(PullMessagesRequest(node=Node(node_id=7)))
    assert set(server.heard) == {"pull-messages"}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol", False),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", True),
    ],
)
def test_only_a_certificates_error_is_told_as_one(said, kept, connected):
    """Of whatever has `ssl` in its text Flower throws the answer away."""
    node = connected(Server({"push-messages": [httpx.ConnectError(said)]}))
    with pytest.raises(httpx.ConnectError) as caught:
        node.PushMessages(PushMessagesRequest())
    assert ("ssl" in str(caught.value).lower()) is kept


def test_a_node_that_was_killed_leaves_before_it_goes_on(monkeypatch):
    """The server took it for connected all the while, and would wait for what it had asked."""
    server = Server({"activate-node": [412, 412]})
    monkeypatch.setattr(client.fleet.time, "sleep", lambda _: None)
    node = SteadyFleet("https://server.example")
    node._client = httpx.Client(transport=httpx.MockTransport(server))
    found = node.ActivateNode(ActivateNodeRequest(public_key=KEY, heartbeat_interval=30))
    assert found.node_id == 7
    assert server.heard == [*["activate-node"] * 3, "deactivate-node", "activate-node"]
    server.heard.clear()
    node.ActivateNode(ActivateNodeRequest(public_key=KEY, heartbeat_interval=30))
    assert server.heard == ["activate-node"]


def test_a_node_whose_key_another_process_uses_is_refused_after_a_while(monkeypatch):
    server = Server({"activate-node": [412] * 1000})
    monkeypatch.setattr(client.fleet.time, "sleep", lambda _: None)
    node = SteadyFleet("https://server.example")
    node._client = httpx.Client(transport=httpx.MockTransport(server))
    with pytest.raises(httpx.HTTPStatusError):
        node.ActivateNode(ActivateNodeRequest(public_key=KEY, heartbeat_interval=30))
    assert set(server.heard) == {"activate-node"}


def taken(node, message):
    """What Flower's loop says when it takes a message, and has it whole."""
    node.PullMessages(PullMessagesRequest(node=Node(node_id=7)))
    node.ConfirmMessageReceived(ConfirmMessageReceivedRequest(message_object_id=message))


def answered(node, message):
    about = Metadata(reply_to_message_id=message)
    node.PushMessages(PushMessagesRequest(messages_list=[Message(metadata=about)]))


@pytest.mark.parametrize("call", ["PullObject", "ConfirmMessageReceived"])
def test_a_message_of_a_run_that_ends_meanwhile_is_dropped_whole(call, connected):
    """By an error that Flower's loop catches there; its own for it passes that by."""
    request = {"PullObject": PullObjectRequest, "ConfirmMessageReceived": TAKEN}[call]()
    path = {"PullObject": "pull-object", "ConfirmMessageReceived": "confirm-message-received"}
    node = connected(Server({path[call]: [403, 503]}))
    with pytest.raises(RuntimeError, match="ended"):
        getattr(node, call)(request)
    with pytest.raises(httpx.HTTPStatusError):
        getattr(node, call)(request)
    node.PullMessages(PullMessagesRequest(node=Node(node_id=7)))  # nothing is left to answer


@pytest.mark.usefixtures("flower")
@pytest.mark.parametrize(
    ("error", "left"), [(RuntimeError("its run has ended"), 0), (RunNotRunningException(), 1)]
)
def test_what_flowers_loop_keeps_of_a_message_that_is_taken_as_its_run_ends(error, left):
    """By Flower's own error the message, half taken: it is answered in the next one's turn."""
    store = ObjectStoreFactory().store()
    state = NodeStateFactory(objectstore_factory=ObjectStoreFactory()).state()
    state.set_node_id(7)
    asked = FlowerMessage(RecordDict(), dst_node_id=7, message_type="query")
    asked.metadata.__dict__ |= {"_message_id": asked.object_id, "_run_id": 1, "_src_node_id": 1}
    state.store_run(Run.create_empty(1))

    def ended(*_):
        raise error

    told = _pull_and_store_message(
        state, store, {}, lambda: (asked, get_object_tree(asked)), *[ended] * 4, None
    )
    assert told is None
    assert len(state.get_messages_legacy()) == left


def test_answers_in_turn_end_nothing(connected, ended):
    node = connected(Server({"push-messages": [403]}))
    taken(node, "a")
    with pytest.raises(httpx.HTTPStatusError):
        answered(node, "a")  # the run ended: nobody waits for it
    taken(node, "b")
    answered(node, "b")
    node.PullMessages(PullMessagesRequest(node=Node(node_id=7)))
    assert ended == []


def test_a_node_whose_answers_are_a_turn_late_leaves_and_ends(connected, ended):
    node = connected(server := Server())
    taken(node, "b")
    answered(node, "a")  # of a run before
    server.heard.clear()
    with pytest.raises(SystemExit):
        node.PullMessages(PullMessagesRequest(node=Node(node_id=7)))
    assert server.heard == ["deactivate-node"], "no heartbeat after it"
    assert ended == [signal.SIGTERM]


@pytest.fixture
def ended(monkeypatch):
    """Signals that a process sends itself, each of which ends it."""
    sent = []

    def end(process, number):
        assert process == os.getpid()
        sent.append(number)
        raise SystemExit

    monkeypatch.setattr(client.fleet.os, "kill", end)
    yield sent
    client.fleet.OF_ITSELF.clear()
