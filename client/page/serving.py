"""The process of the page: on this machine's own address alone, for as long as its owner wants."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from client.page.app import build
from client.page.guard import Guard, Secrets
from client.person.person import Person
from shared.connections import TimedServer
from shared.errors import ConfigError
from shared.files import read_file

HOST = "127.0.0.1"
TOKEN = "page-token"
_WAITING = 64  # connections that the system keeps until they are answered
_LEAST = 32  # letters of a token


def token_of(folder: Path) -> str:
    """What the owner's browser and programs show; made once, read by its owner alone.

    Raises
    ------
    ConfigError
        If others may read it, it cannot be read or written, or it is too short to be one.
    """
    file = folder / TOKEN
    try:
        with (
            suppress(FileExistsError),
            open(
                file, "x", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)
            ) as stream,
        ):
            stream.write(secrets.token_urlsafe(32) + "\n")
        mode = file.stat().st_mode & 0o777
        if mode & 0o077:
            raise ConfigError(f"{file}: others may read it (mode {mode:o}); remove it")
        token = read_file(file).decode("ascii").strip()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        token = ""
    if len(token) < _LEAST:
        raise ConfigError(f"{file}: not a token; remove it, and another is made")
    return token


def server(person: Person, listener: socket.socket) -> tuple[uvicorn.Server, Secrets]:
    """What answers on a socket that listens, and the secrets that open it; errors as `token_of`."""
    kept = Secrets(token_of(person.folder.path))
    port = listener.getsockname()[1]
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
    config = uvicorn.Config(
        Guard(build(person, kept), kept, hosts),
        access_log=False,
        log_level=logging.WARNING,
        proxy_headers=False,
        server_header=False,
        ws="none",
    )
    return TimedServer(config), kept


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket at this machine's own address; 0: any port that is free.

    Raises
    ------
    ConfigError
        If the port is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise ConfigError(f"--port {port}: {error.strerror}; give another, or 0") from None
        listener.listen(_WAITING)
        yield listener


def serve(person: Person, port: int, told: Callable[[str, str], None]) -> None:
    """Answer until SIGTERM or SIGINT; errors as `listening` and `token_of`.

    Parameters
    ----------
    person : Person
    port : int
    told : callable
        Given the address that opens the page once, and the one that programs ask with the token.
    """
    with listening(port) as listener:
        answering, kept = server(person, listener)
        base = f"http://{HOST}:{listener.getsockname()[1]}"
        told(f"{base}/login?code={kept.code}", f"{base}/{kept.place}/api/")
        with suppress(KeyboardInterrupt):  # which uvicorn raises once more when it has ended
            answering.run(sockets=[listener])
