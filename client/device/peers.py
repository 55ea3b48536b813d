"""Who waits for a device's answer: connections of users whom its owner named.

One that says nothing keeps nobody else waiting: the first that has begun to ask is the next.
"""

from __future__ import annotations

import logging
import select
import selectors
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from types import TracebackType
from typing import Self

from client.link import READ_SECONDS, user_of

MOST = 64
"""Connections that may wait; of those that have said nothing the oldest makes room for another."""
_LOG = logging.getLogger("starling")


class Peers:
    """Connections to a listening socket; used as a context manager.

    Parameters
    ----------
    listener : socket
    users : collection of int
        Whose connections are taken (uids).
    """

    def __init__(self, listener: socket.socket, users: Collection[int]) -> None:
        self._listener, self._users = listener, users
        self._waiting: dict[socket.socket, float] = {}  # until when it may be silent
        self._ready = selectors.DefaultSelector()
        listener.setblocking(False)
        self._ready.register(listener, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for link in list(self._waiting):
            self._drop(link)
        self._ready.close()

    def next(self) -> socket.socket:
        """The connection that is the next to be read from; the caller closes it."""
        while True:
            left = min(self._waiting.values(), default=None)
            wait = None if left is None else max(0.0, left - time.monotonic())
            found = [key.fileobj for key, _ in self._ready.select(wait)]
            asking = [link for link in self._waiting if link in found]
            if self._listener in found:
                self._take()
            if asking:
                self._ready.unregister(asking[0])
                del self._waiting[asking[0]]
                return asking[0]
            now = time.monotonic()
            for link in [link for link, until in self._waiting.items() if until <= now]:
                self._drop(link)

    def _take(self) -> None:
        try:
            link = self._listener.accept()[0]
            user = user_of(link)
        except OSError:  # it is gone again
            return
        if user not in self._users:
            _LOG.warning("user %d asked: not one whom the owner named (--uid)", user)
            link.close()
            return
        if len(self._waiting) >= MOST:
            self._drop(next(iter(self._waiting)))
        self._waiting[link] = time.monotonic() + READ_SECONDS
        self._ready.register(link, selectors.EVENT_READ)

    def _drop(self, link: socket.socket) -> None:
        del self._waiting[link]
        with suppress(KeyError, OSError):
            self._ready.unregister(link)
        link.close()


def gone(link: socket.socket) -> bool:
    """Whether the other side has closed its end, and so waits for no answer."""
    asked = select.poll()
    asked.register(link, 0)  # POLLHUP is told without being asked for
    return any(event & select.POLLHUP for _, event in asked.poll(0))
