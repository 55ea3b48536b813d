"""What a SuperNode says to its server, over connections that break in the middle.

A server hands out a message once. Where a connection broke while a node asked for one, nobody can
say whether it was on the way: the server would wait for an answer until its patience ends, ten
minutes for a letter of a secure sum, an hour for training, and with it all others. So the node
says that it leaves, stays away for longer than the server takes to notice, and returns: what it
was asked is given up at once, as of any node that is gone.

A SuperNode takes one message, has it answered, sends the answer, takes the next. A run that ends
while its message is being taken leaves that message behind in Flower's node, half taken; it is
answered all the same, in the next one's turn, and from then on every answer comes a turn late:
each round would wait for this node until its patience ends. So a message of a run that has ended
is dropped whole; and a node that is a turn behind, however it came to be, leaves and ends, to be
started again by whatever keeps it up.

Flower's own retries take every error that has `ssl` in its text for a certificate's, and give up:
the SuperNode ends, or an answer is thrown away. Here only those of certificates keep that text.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from logging import WARNING
from typing import Any, TypeVar

import httpx
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    PullObjectRequest,
    PullObjectResponse,
)
from flwr.supercore import log
from flwr.supernode.fleet_http_client import FleetHttpClient

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")

AWAY = 6.0
"""Seconds: a server looks for answers every three."""
_AGAIN = 1.0  # seconds until the server is told again that could not be told
_STALE = 120  # times: a server counts a node as connected for a minute after it was last heard
_CONNECTED = 412
_ENDED = 403  # what is about a run that has ended
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


OF_ITSELF = threading.Event()
"""Set where a node ends without being told to, so that it is started again: no success."""


def end_of_itself() -> None:
    """End this process as a service manager would; with an exit code that says who ended it."""
    OF_ITSELF.set()
    os.kill(os.getpid(), signal.SIGTERM)


class SteadyFleet(FleetHttpClient):
    """Flower's client of a node, whose broken connections are told from what they may have cost."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._key, self._away, self._killed = b"", False, False
        self._taken: set[str] = set()  # messages that were taken whole, and not answered

    def _unary_unary(self, **named: Any) -> Any:
        try:
            return super()._unary_unary(**named)
        except httpx.TransportError as error:
            said = str(error).lower()
            if "certificate" in said or not ("ssl" in said or "tls" in said):
                raise
            raise type(error)("the connection broke") from None

    def ActivateNode(self, request: ActivateNodeRequest) -> ActivateNodeResponse:
        """As Flower's, and the key is kept; a node that counts as connected leaves first.

        It is this node's last process, which was killed: what that had been asked is lost.
        """
        self._key = request.public_key
        for _ in range(_STALE):
            try:
                found = super().ActivateNode(request)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != _CONNECTED:
                    raise
                self._killed = True
                time.sleep(_AGAIN)
            else:
                break
        else:
            return super().ActivateNode(request)
        if self._killed:
            self._killed = False
            self._leave_and_return(found.node_id)
        return found

    def SendNodeHeartbeat(self, request: SendNodeHeartbeatRequest) -> SendNodeHeartbeatResponse:
        """As Flower's, unless the node is away."""
        if self._away:
            return SendNodeHeartbeatResponse(success=True)
        return super().SendNodeHeartbeat(request)

    def PullMessages(self, request: PullMessagesRequest) -> PullMessagesResponse:
        """As Flower's; where a message may have been lost, the server hears that it is."""
        if self._taken:
            log(WARNING, "this node's answers are a turn late: it leaves, and ends")
            self._leave(request.node.node_id)
            end_of_itself()
        try:
            return super().PullMessages(request)
        except _NOT_SENT:
            raise
        except httpx.TransportError:
            self._leave_and_return(request.node.node_id)
            raise

    def PullObject(self, request: PullObjectRequest) -> PullObjectResponse:
        """As Flower's; of a run that has ended an error that makes the node drop the message."""
        return _of_a_run(super().PullObject, request)

    def ConfirmMessageReceived(
        self, request: ConfirmMessageReceivedRequest
    ) -> ConfirmMessageReceivedResponse:
        """The same, and from then on the message is this node's to answer."""
        found = _of_a_run(super().ConfirmMessageReceived, request)
        self._taken.add(request.message_object_id)
        return found

    def PushMessages(self, request: PushMessagesRequest) -> PushMessagesResponse:
        """As Flower's; it tries once, and then takes the next message whatever came of it."""
        for answer in request.messages_list:
            self._taken.discard(answer.metadata.reply_to_message_id)
        return super().PushMessages(request)

    def _leave(self, node: int) -> None:
        self._away = True
        _told(lambda: self.DeactivateNode(DeactivateNodeRequest(node_id=node)))
        time.sleep(AWAY)

    def _leave_and_return(self, node: int) -> None:
        try:
            self._leave(node)
            returned = ActivateNodeRequest(
                public_key=self._key, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL
            )
            _told(lambda: super(SteadyFleet, self).ActivateNode(returned))
        finally:
            self._away = False


def _of_a_run(ask: Callable[[_Asked], _Answer], request: _Asked) -> _Answer:
    try:
        return ask(request)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != _ENDED:
            raise
        # Flower's own error for it is none that its loop catches where it tidies up.
        raise RuntimeError("its run has ended") from None


def _told(say: Callable[[], object]) -> None:
    """Say it until the server has heard it: that it is so already is an answer, too."""
    while True:
        try:
            say()
            return
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 500:
                return
        except httpx.TransportError:
            pass
        time.sleep(_AGAIN)
