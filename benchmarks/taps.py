"""What stands between two processes, passes on what they say, and can cut it in the middle."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from client.link import UPDATE, body_of, head_of, request_of
from shared.errors import ProtocolError

_HEAD = 14  # bytes of a frame's head
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closed at once, what is on the way is lost


class Connection:
    """One connection: both ways, until either side has ended it.

    Parameters
    ----------
    ends : (socket, socket)
        Of who asked, and of who answers.
    kept : bool
        Whether what is said is kept.
    """

    def __init__(self, ends: tuple[socket.socket, socket.socket], *, kept: bool) -> None:
        self._ends, self._left = ends, 2
        self.said = (bytearray(), bytearray()) if kept else None
        self.cut = False

    def start(self) -> None:
        """Pass on, from now on."""
        for side in (0, 1):
            threading.Thread(target=self._pass, args=(side,), daemon=True).start()

    @property
    def open(self) -> bool:
        """Whether somebody may still say something."""
        return self._left > 0

    def _pass(self, side: int) -> None:
        source, target = self._ends[side], self._ends[1 - side]
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.said:
                    self.said[side].extend(data)
                if self.cut:
                    target.sendall(data[: len(data) // 2])
                    for end in self._ends:
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        end.shutdown(socket.SHUT_RDWR)
                    break
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        self._left -= 1
        if not self._left:
            for end in self._ends:
                end.close()


class Tap:
    """Passes on what connects to one place to another.

    Parameters
    ----------
    listener : socket
        Bound, not listening yet.
    onward : callable
        A new connection to the other place; OSError if nobody is there.
    kept : bool
        See `Connection`.
    """

    def __init__(
        self, listener: socket.socket, onward: Callable[[], socket.socket], *, kept: bool
    ) -> None:
        self._listener, self._onward, self._kept = listener, onward, kept
        self.connections: list[Connection] = []
        listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                asking, _ = self._listener.accept()
                try:
                    answering = self._onward()
                except OSError:
                    asking.close()
                    continue
                if not self._kept:
                    self.connections = [each for each in self.connections if each.open]
                made = Connection((asking, answering), kept=self._kept)
                self.connections.append(made)  # before anybody can have heard anything over it
                made.start()

    def close(self) -> None:
        """Take no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def between(port: int, to: int) -> Tap:
    """On a port of this machine, to another."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return Tap(listener, lambda: socket.create_connection(("127.0.0.1", to)), kept=False)


def before(device: str) -> tuple[Tap, str]:
    """On a socket beside a device's, which hears all that is asked and answered."""

    def onward() -> socket.socket:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(device)
        except OSError:
            link.close()
            raise
        return link

    listener, path = socket.socket(socket.AF_UNIX), f"{device}t"
    listener.bind(path)
    return Tap(listener, onward, kept=True), path


def asked(tap: Tap) -> int:
    """How many requests stand unanswered before a device."""
    return sum(bool(each.said and each.said[0] and not each.said[1]) for each in tap.connections)


def left(tap: Tap) -> list[tuple[str, int]]:
    """What left a device that costs it something: which release, of which round.

    An answer of which the first bytes left counts whole.
    """
    found = []
    for each in tap.connections:
        question, answer = each.said or (b"", b"")
        with suppress(ProtocolError):
            if head_of(bytes(answer[:_HEAD]))[0] != UPDATE:
                continue
            kind, _ = head_of(bytes(question[:_HEAD]))
            request, _ = request_of(body_of(kind, bytes(question[_HEAD:])))
            found.append((request.release, request.round_number))
    return found
