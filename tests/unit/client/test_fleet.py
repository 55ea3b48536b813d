"""What a broken connection to the server costs a node."""

import httpx
import pytest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.proto.node_pb2 import Node

import client.fleet
from client.fleet import SteadyFleet

KEY = b"a node's"


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
