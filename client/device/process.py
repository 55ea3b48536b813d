"""The device in a process of its own: resident, its owner's, asked over a Unix socket.

What a server's bundle brings runs in another process, the relay's, and can do no more here than
ask: code, data, agreement, records and keys of this one are those that its owner installed. It
answers one request at a time, through a `Resident`, whose keys of a secure sum are kept in memory:
restarted in the middle of one, it is left out.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from client.device.folder import DeviceFolder
from client.device.limits import Overtime
from client.device.peers import MOST, Peers, gone
from client.device.resident import Resident
from client.link import (
    FAILED,
    Frame,
    answer_frame,
    check_place,
    declined_frame,
    receive,
    request_of,
    send,
)
from shared.errors import ConfigError, Declined
from shared.files import FolderLock

SERVING = "serving"  # a folder of the state: one process a device, and its socket by default
_SOCKET = "device.sock"
_SECONDS = 10.0  # that a peer may take to say what it has begun to ask, or to hear the answer
_LOG = logging.getLogger("starling")


class _Ended(BaseException):
    """The owner asks the process to end: nothing that guards an answer may catch it."""


class Process:
    """A resident device.

    Parameters
    ----------
    folder : DeviceFolder
    users : collection of int
        Whose relays are answered (uids).
    path : Path, optional
        Of the socket, in a folder that its owner alone may write; default: in the state folder.
    """

    def __init__(
        self,
        folder: DeviceFolder,
        users: Collection[int],
        path: Path | None = None,
    ) -> None:
        self._folder = folder
        self._users = frozenset(users)
        self._place = folder.path / SERVING
        self.path = path or self._place / _SOCKET
        self._idle, self._ends = False, False

    def serve(self) -> None:
        """Answer until the owner ends it (SIGTERM, SIGINT, SIGHUP); what is in hand is finished.

        Raises
        ------
        ConfigError, DataError
            If the device cannot be what it is configured to be, another process serves its state,
            or the socket cannot be where it is to be.
        """
        self._check()
        with FolderLock(self._place) as lock:
            lock.take()
            _ = self._resident
            with (
                self._listening() as listener,
                Peers(listener, self._users) as peers,
                self._ended_by_signals(),
                suppress(_Ended),
            ):
                # Last: whoever asks this process for what is refused above is not held to them.
                self._folder.owned.limits.hold()
                _LOG.info("%s: serving", self.path)
                while True:
                    self._serve_one(peers)

    def _check(self) -> None:
        """Whatever would fail at the first request and is the owner's to mend."""
        self._folder.owned  # noqa: B018 (there is a device)
        self._place.mkdir(exist_ok=True, mode=0o700)
        if self._users - {os.getuid()} and self.path.parent == self._place:
            raise ConfigError(
                "--uid: another user reaches no socket in the state folder; give --socket PATH, in "
                "a folder of yours that their group may enter (mode 750)"
            )

    @contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        owner = check_place(self.path)
        if owner != os.getuid():
            raise ConfigError(f"{self.path.parent}: another user's; a socket lies in its owner's")
        _remove_stale(self.path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            mask = os.umask(0o117 if self._users - {owner} else 0o177)
            try:
                listener.bind(str(self.path))
            except OSError as error:
                raise ConfigError(
                    f"{self.path}: no socket can be made ({error.strerror})"
                ) from None
            finally:
                os.umask(mask)
            ours = self.path.lstat().st_ino
            listener.listen(MOST)
            try:
                yield listener
            finally:
                with suppress(OSError):
                    if self.path.lstat().st_ino == ours:
                        self.path.unlink()

    @contextmanager
    def _ended_by_signals(self) -> Iterator[None]:
        def end(number: int, frame: object) -> None:
            self._ends = True
            if self._idle:
                raise _Ended

        before = {each: signal.signal(each, end) for each in _ENDING}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _serve_one(self, peers: Peers) -> None:
        """One connection: its request read while the process may end, then answered whatever."""
        self._idle = True
        if self._ends:
            raise _Ended
        with peers.next() as link, suppress(OSError):
            try:
                asked = receive(link, _SECONDS)
            except Exception as error:
                self._idle = False
                _LOG.warning("no request: %s", error)
                send(link, FAILED.pack(), _SECONDS)
                return
            self._idle = False
            if gone(link):  # it would cost what nobody gets
                _LOG.warning("whoever asked is gone: not answered")
                return
            send(link, self.reply(asked), _SECONDS)

    def reply(self, asked: Frame) -> bytes:
        """The frame that answers one: a decline or a failure says a word, and its log says why."""
        try:
            request, node = request_of(asked)
            with self._folder.owned.limits.timed():
                answer = self._resident.answer(request, node)
            request.check(answer)
            return answer_frame(answer).pack()
        except Declined as why:
            _LOG.info("%s", why)
            return declined_frame(why.word).pack()
        except Overtime:
            _LOG.error("the answer took longer than its owner allows (limits.seconds)")
            return FAILED.pack()
        except Exception as error:
            _LOG.error("%s: %s", type(error).__name__, error)
            return FAILED.pack()

    @cached_property
    def _resident(self) -> Resident:
        return Resident(self._folder)


_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _remove_stale(path: Path) -> None:
    """A socket that a killed process left behind; nothing else is removed."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise ConfigError(f"{path}: is there already and no socket; give another --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
    raise ConfigError(f"{path}: another process listens there; give another --socket, or stop it")
