"""Connections to a service over HTTP, a server's or a page's: a slow peer keeps nobody else out.

A request's head and its whole exchange have to be over in time. Where more connect than there is
room for, the newcomer is let in, and of the address that holds the most the connection closes that
has made no progress from one request to the next for the longest: whoever asks and goes is not it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import resource
import socket
from collections import Counter
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 30.0
"""Until a connection stands; from then, or from an answer, until the next request's head came."""
EXCHANGE_SECONDS = 600.0
"""From a request's head until its body was read and its answer taken."""
MOST = 4096
"""Connections at once; fewer where the system allows fewer files."""
_EACH = 4  # files for a connection: its own, one to whatever is behind, as much again to spare


def room() -> int:
    """How many connections there is room for, after asking the system for as many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST * _EACH if hard == resource.RLIM_INFINITY else min(hard, MOST * _EACH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST if soft == resource.RLIM_INFINITY else max(1, min(MOST, soft // _EACH))


class Connections:
    """Those that are open, the one whose exchange began first in front.

    Parameters
    ----------
    most : int
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[asyncio.Transport, str] = {}  # to the address it comes from

    def add(self, link: asyncio.Transport, address: str) -> None:
        """One more; another makes room for it if there is none."""
        if len(self._held) >= self._most:
            ((greedy, _),) = Counter(self._held.values()).most_common(1)
            oldest = next(each for each, of in self._held.items() if of == greedy)
            self.remove(oldest)
            oldest.abort()
        self._held[link] = _whose(address)

    def renew(self, link: asyncio.Transport) -> None:
        """Its exchange is over, and another may begin."""
        if address := self._held.pop(link, None):
            self._held[link] = address

    def remove(self, link: asyncio.Transport) -> None:
        """It is closed."""
        self._held.pop(link, None)


class Timed(H11Protocol):
    """HTTP over one connection, which closes when it is late.

    Parameters
    ----------
    among : Connections
    named
        As uvicorn tells.
    """

    def __init__(self, among: Connections, **named: Any) -> None:
        super().__init__(**named)
        self._among, self._late = among, self.loop.call_later(0, _nothing)
        self._begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """After the handshake of TLS."""
        super().connection_made(transport)
        self._among.add(transport, self.client[0] if self.client else "")
        self._within(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Some of a request."""
        super().data_received(data)
        if not self._begun and self.cycle is not None and not self.cycle.response_complete:
            self._begun = True
            self._within(EXCHANGE_SECONDS)

    def on_response_complete(self) -> None:
        """An exchange is over."""
        self._begun = False
        self._among.renew(self.transport)
        self._within(HEAD_SECONDS)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self._late.cancel()
        self._among.remove(self.transport)
        super().connection_lost(exc)

    def _within(self, seconds: float) -> None:
        self._late.cancel()
        if not self.transport.is_closing():
            self._late = self.loop.call_later(seconds, self.transport.abort)


class TimedServer(uvicorn.Server):
    """uvicorn, whose connections are `Timed`."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on sockets, or where the configuration says; a port that is taken ends it."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            self.should_exit = True
            return
        among, loop, config = Connections(room()), asyncio.get_running_loop(), self.config

        def accepted() -> Timed:
            return Timed(
                among,
                config=config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                _loop=loop,
            )

        named: dict[str, Any] = {"backlog": config.backlog}
        if config.ssl:
            named |= {"ssl": config.ssl, "ssl_handshake_timeout": HEAD_SECONDS}
        try:
            if sockets:
                made = [await loop.create_server(accepted, sock=at, **named) for at in sockets]
            else:
                made = [await loop.create_server(accepted, config.host, config.port, **named)]
        except OSError:
            self.should_exit = True
            return
        self.servers = made
        self.started = True


def _whose(address: str) -> str:
    """Whoever has one IPv6 address has all of its network's."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    return str(ipaddress.IPv6Network((found, 64), strict=False))


def _nothing() -> None:
    """Of a timer that was not started."""
