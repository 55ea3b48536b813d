"""A node's SuperNode, as `starling client relay` starts it: told where its device is, nothing more.

Flower's SuperNode asks for messages every three seconds, and starts Python anew for each. A secure
sum is a talk of several turns: so for half a minute after a message this one asks again sooner, and
its SuperExec, which has loaded what a message needs and no more, forks. What a message runs is a
process of its own as before, of the same user, and ends with its answer. A SuperExec that ends,
ends its SuperNode, and with itself what it has forked. How broken connections are mended is
`client.fleet`'s. All of it is done to Flower's modules here alone.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from client.enrolment import NODE
from shared.errors import ConfigError
from shared.files import read_file

SUPEREXEC = "flower-superexec"
_PR_SET_PDEATHSIG = 1
SOON, AWAKE = 0.3, 30.0
"""Seconds from one look to the next, and for how long after a message."""


def told(node: Path) -> tuple[list[str], dict[str, str]]:
    """The SuperNode's words and environment.

    Parameters
    ----------
    node : Path
        A node's folder, made by `client.enrolment.join`.

    Raises
    ------
    ConfigError
        If it is none.
    """
    try:
        tree: dict[str, Any] = tomllib.loads(read_file(node / NODE).decode())
        superlink, device = str(tree["superlink"]), str(tree["device"])
    except OSError as error:
        raise ConfigError(
            f"{node}: no node is here ({error.strerror}); make one with starling client join"
        ) from None
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{node / NODE}: not what starling client join writes: {error}") from None
    for name in ("ca.pem", "node.key"):
        if not (node / name).is_file():
            raise ConfigError(f"{node / name}: is missing; restore it, or join anew")
    home = (node / "flower").absolute()
    home.mkdir(exist_ok=True)
    with socket.socket() as sock:  # of its own messages' processes, on this machine
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    words = [
        *("--superlink", superlink, "--root-certificates", str((node / "ca.pem").absolute())),
        *("--auth-supernode-private-key", str((node / "node.key").absolute())),
        *("--node-config", f'device="{device}"', "--port", str(port)),
    ]
    environment = {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    return words, environment


class _Awake:
    """The clock of Flower's loop, whose pause is shorter while messages come."""

    def __init__(self) -> None:
        self._latest = -AWAKE

    def sleep(self, seconds: float) -> None:
        now = time.monotonic()
        if seconds < 1:  # it waits for an answer to a message
            self._latest = now
        time.sleep(SOON if now - self._latest < AWAKE else seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class _Ours:
    """How Flower starts a SuperExec: this module."""

    @staticmethod
    def Popen(words: Sequence[str], **named: Any) -> subprocess.Popen[bytes]:
        if words[0] != SUPEREXEC:
            return subprocess.Popen(words, **named)
        ours = subprocess.Popen([sys.executable, "-P", "-m", "client.relay", *words], **named)
        threading.Thread(target=_end_with, args=(ours,), daemon=True).start()
        return ours

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)


def _end_with(superexec: subprocess.Popen[bytes]) -> None:
    """A SuperNode without it would take messages and answer none: ended, it is started again."""
    from client.fleet import end_of_itself

    superexec.wait()
    end_of_itself()


class _Forks:
    """How a SuperExec starts a message's process: a fork of itself."""

    @staticmethod
    def Popen(words: Sequence[str], **named: Any) -> object:
        from flwr.supernode.cli.flwr_clientapp import flwr_clientapp

        if words[0] != "flwr-clientapp":
            return subprocess.Popen(words, **named)
        if os.fork():
            return None
        if sys.platform == "linux":  # else it asks for ever whom to tell its answer
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            sys.argv = list(words)
            flwr_clientapp()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)


def load() -> None:
    """Import what a message's process needs, and nothing for its neighbours' sake.

    Flower's packages of programs import all of their programs: a SuperNode's database, web service
    and migrations would be a third of what stays in memory, and no message uses them.
    """
    for name in ("flwr.supernode.cli", "flwr.supercore.cli"):
        found = importlib.util.find_spec(name)
        if found is not None and name not in sys.modules:
            sys.modules[name] = bare = types.ModuleType(name)
            bare.__path__, bare.__spec__ = list(found.submodule_search_locations or ()), found
    for name in ("client.app", "client.link", "flwr.supernode.cli.flwr_clientapp"):
        importlib.import_module(name)


def main() -> None:
    """Be a SuperNode of the words given, or the SuperExec that it starts."""
    if sys.argv[1:2] == [SUPEREXEC]:
        load()
        from flwr.supercore.cli.flower_superexec import flower_superexec
        from flwr.supercore.superexec.executor import subprocess_executor

        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
        subprocess_executor.subprocess = _Forks()  # type: ignore[attr-defined,assignment]
        del sys.argv[1]
        flower_superexec()
        return
    from flwr.supernode import fleet_http_connection, start_client_internal
    from flwr.supernode.cli import flower_supernode

    from client.fleet import OF_ITSELF, SteadyFleet

    fleet_http_connection.FleetHttpClient = SteadyFleet  # type: ignore[attr-defined]
    start_client_internal.time = _Awake()  # type: ignore[attr-defined,assignment]
    start_client_internal.subprocess = _Ours()  # type: ignore[attr-defined,assignment]
    try:
        flower_supernode()
    except SystemExit:
        if OF_ITSELF.is_set():  # Flower takes the signal for the operator's, and ends with 0
            raise SystemExit(1) from None
        raise


if __name__ == "__main__":
    main()
