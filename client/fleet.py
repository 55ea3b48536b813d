"""What a SuperNode says to its server, over connections that break in the middle.

A server hands out a message once. Where a connection broke while a node asked for one, nobody can
say whether it was on the way: the server would wait for an answer until its patience ends, ten
minutes for a letter of a secure sum, an hour for training, and with it all others. So the node
says that it leaves, stays away for longer than the server takes to notice, and returns: what it
was asked is given up at once, as of any node that is gone.

Flower's own retries take every error that has `ssl` in its text for a certificate's, and give up:
the SuperNode ends, or an answer is thrown away. Here only those of certificates keep that text.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.supernode.fleet_http_client import FleetHttpClient

AWAY = 6.0
"""Seconds: a server looks for answers every three."""
_AGAIN = 1.0  # seconds until the server is told again that could not be told
_STALE = 120  # times: a server counts a node as connected for a minute after it was last heard
_CONNECTED = 412
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class SteadyFleet(FleetHttpClient):
    """Flower's client of a node, whose broken connections are told from what they may have cost."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._key, self._away, self._killed = b"", False, False

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
        try:
            return super().PullMessages(request)
        except _NOT_SENT:
            raise
        except httpx.TransportError:
            self._leave_and_return(request.node.node_id)
            raise

    def _leave_and_return(self, node: int) -> None:
        self._away = True
        try:
            _told(lambda: self.DeactivateNode(DeactivateNodeRequest(node_id=node)))
            time.sleep(AWAY)
            returned = ActivateNodeRequest(
                public_key=self._key, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL
            )
            _told(lambda: super(SteadyFleet, self).ActivateNode(returned))
        finally:
            self._away = False


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
