"""Flower's processes: a SuperLink on loopback and its SuperExec, and what is asked of them.

Flower's Control API, by which runs are started and nodes registered, asks nobody who they are and
shares the SuperLink's one port: so that is open on this machine alone, and nodes reach it through
`server.up.front`. `Link` is the one place that uses Flower's own client for it, no public API.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import httpx
import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StreamLogsRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from server.up.folder import ServerFolder
from shared.errors import ConfigError, EngineError, ProtocolError

_PATIENCE = 120.0  # seconds until a SuperLink answers: a busy machine takes its time
_PR_SET_PDEATHSIG = 1
RUN_KEYS: Mapping[str, str | int] = {
    "config": "",
    "directory": "",
    "name": "",
    "users": 0,
    "policy": "",
    "declined": "",
}


@dataclass(frozen=True)
class Node:
    """A registered node.

    Attributes
    ----------
    number : int
    online : bool
    key : str
        Its public key (PEM).
    registered : bool
        Whether its key is accepted: one that was unregistered stays on record.
    """

    number: int
    online: bool
    key: str
    registered: bool


def key_of(text: str) -> str:
    """A node's public key (PEM) as the SuperLink knows it.

    Parameters
    ----------
    text : str
        As OpenSSH writes it.

    Raises
    ------
    ProtocolError
        If it is no key of the elliptic curve P-384.
    """
    try:
        found = load_ssh_public_key(text.encode())
    except Exception:  # of whatever somebody sent
        found = None
    if not isinstance(found, ec.EllipticCurvePublicKey) or found.curve.name != "secp384r1":
        raise ProtocolError("key: expected a public key of the curve P-384, as OpenSSH has it")
    return found.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class Link:
    """What a server asks of its own SuperLink.

    Parameters
    ----------
    address : str
        host:port, on this machine.
    authority : bytes
        PEM, of the certificate that it shows.
    """

    def __init__(self, address: str, authority: bytes) -> None:
        told = [RuntimeVersionHttpInterceptor(component_name="flwr CLI")]
        self._client = ControlHttpClient.from_server_address(address, False, authority, told)

    def register(self, key: str) -> int:
        """The number of a public key (PEM), which is registered if it is not yet.

        Raises
        ------
        ProtocolError
            If it is refused, such as one that was unregistered.
        EngineError
            If the SuperLink does not answer.
        """
        try:
            pem = key.encode()
            return int(self._client.RegisterNode(RegisterNodeRequest(public_key=pem)).node_id)
        except httpx.HTTPStatusError as error:
            if error.response.status_code >= 500:
                raise EngineError("the SuperLink could not register the node") from None
            there = [node.number for node in self.nodes() if node.key == key and node.registered]
            if not there:
                raise ProtocolError("key: is not accepted by the SuperLink") from None
            return there[0]
        except httpx.HTTPError as error:
            raise EngineError(f"the SuperLink does not answer ({error})") from None

    def unregister(self, keys: Collection[str]) -> None:
        """Accept public keys (PEM) no more; nothing happens to those that are not registered."""
        for node in self.nodes():
            if node.registered and node.key in keys:
                self._client.UnregisterNode(UnregisterNodeRequest(node_id=node.number))

    def nodes(self) -> list[Node]:
        """All nodes that were registered."""
        found = self._client.ListNodes(ListNodesRequest()).nodes_info
        return [
            Node(
                each.node_id,
                each.status == "online",
                each.public_key.decode(errors="replace"),
                each.status != "unregistered",
            )
            for each in found
        ]

    def start(self, told: Mapping[str, str | int]) -> int:
        """Start a run of the bundle; its number."""
        content, digest = bundle()
        request = StartRunRequest(
            fab=fab_to_proto(Fab(digest, content, {})),
            override_config=user_config_to_proto(dict(told)),
        )
        return int(self._client.StartRun(request).run_id)

    def state_of(self, number: int) -> str:
        """pending, starting, running, or completed, failed, stopped."""
        status = self._client.ListRuns(ListRunsRequest(run_id=number)).run_dict[number].status
        return str(status.sub_status if status.status == "finished" else status.status)

    def follow(self, number: int, file: Path) -> None:
        """Write what a run's ServerApp logs to a file, until it ends or the SuperLink does."""

        def followed() -> None:
            with suppress(httpx.HTTPError, ValueError, OSError), file.open("a") as log:
                for part in self._client.StreamLogs(StreamLogsRequest(run_id=number)):
                    log.write(part.log_output)
                    log.flush()

        threading.Thread(target=followed, name="log", daemon=True).start()

    def close(self) -> None:
        """End its connections."""
        self._client.close()


def bundle() -> tuple[bytes, str]:
    """What Flower delivers to server and nodes, and its digest: `apps.py` alone, as installed."""
    found = util.find_spec("apps")
    if found is None or found.origin is None:
        raise ConfigError("apps.py: is not installed; see starling doctor")
    about = {
        "project": {
            "name": "starling",
            "version": metadata.version("starling"),
            "description": "One module that composes what each side has installed.",
            "license": "Apache-2.0",
            "dependencies": [],
        },
        "tool": {
            "flwr": {
                "app": {
                    "publisher": "starling",
                    "fab-include": ["apps.py"],
                    "components": {
                        "serverapp": "apps:server_app",
                        "clientapp": "apps:client_app",
                    },
                    "config": dict(RUN_KEYS),
                }
            }
        },
    }
    files: dict[str, bytes | Path] = {
        "apps.py": Path(found.origin).read_bytes(),
        "pyproject.toml": tomli_w.dumps(about).encode(),
    }
    content, _ = build_fab_from_files(files)
    return content, hashlib.sha256(content).hexdigest()


class SuperLink:
    """A SuperLink and its SuperExec as children of this process; they end with it, however it ends.

    The SuperExec is a process of its own so that a run outlives its SuperLink.

    Parameters
    ----------
    folder : ServerFolder
    """

    def __init__(self, folder: ServerFolder) -> None:
        self._folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> SuperLink:
        end_left_behind(self._folder)
        secret = self._folder.flower / "superexec.secret"
        secret.touch(mode=0o600)
        secret.write_bytes(secrets.token_bytes(32))
        try:
            self.keep_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        for child in reversed(self._children.values()):
            end(child)

    def keep_up(self) -> list[str]:
        """Start what is not there; the names of those that had ended.

        Raises
        ------
        EngineError
            If the SuperLink does not come up.
        """
        ended = [name for name, child in self._children.items() if child.poll() is not None]
        if "flower-superlink" in ended or not self._children:
            self._start("flower-superlink", self._superlink())
            self._wait()
        if "flower-superexec" in ended or len(self._children) < 2:
            self._start("flower-superexec", self._superexec())
        return ended

    @property
    def pids(self) -> dict[str, int]:
        """Of the children, by name."""
        return {name: child.pid for name, child in self._children.items()}

    def _superlink(self) -> list[str]:
        host, _, port = self.address.rpartition(":")
        folder = self._folder
        return [
            *("--host", host, "--port", port, "--isolation", "process"),
            *("--ssl-ca-certfile", str(folder.authority.absolute())),
            *("--ssl-certfile", str(folder.certificate.absolute())),
            *("--ssl-keyfile", str(folder.key.absolute())),
            *("--database", str((folder.flower / "state.db").absolute())),
            *("--enable-supernode-auth", "--disable-runtime-dependency-installation"),
            *self._secret(),
        ]

    def _superexec(self) -> list[str]:
        authority = str(self._folder.authority.absolute())
        told = ["--runtime-api-address", self.address, "--root-certificates", authority]
        return [*told, *self._secret()]

    def _secret(self) -> list[str]:
        file = self._folder.flower / "superexec.secret"
        return ["--superexec-auth-secret-file", str(file.absolute())]

    def _start(self, name: str, words: list[str]) -> None:
        self._children[name] = begun(
            [str(Path(sys.executable).with_name(name)), *words],
            self._folder.flower / f"{name}.log",
            environment(self._folder.flower),
        )

    def _wait(self) -> None:
        child, until = self._children["flower-superlink"], time.monotonic() + _PATIENCE
        context = ssl.create_default_context(cafile=str(self._folder.authority))
        log = self._folder.flower / "flower-superlink.log"
        while time.monotonic() < until:
            if child.poll() is not None:
                raise EngineError(f"the SuperLink ended at once; {log} says why")
            try:
                with urllib.request.urlopen(
                    f"https://{self.address}/health", timeout=2, context=context
                ):
                    return
            except OSError:
                time.sleep(0.1)
        raise EngineError(f"the SuperLink did not come up within {_PATIENCE:.0f} s; see {log}")


def environment(home: Path) -> dict[str, str]:
    """Of Flower's processes: files of their own below one folder, nothing phoned home."""
    return os.environ | {
        "FLWR_HOME": str(home.absolute()),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def free_port() -> int:
    """A port of this machine that nothing listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def begun(words: list[str], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A child in a session of its own, its output in a file; it ends when this process does."""
    with log.open("ab") as output:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            start_new_session=True,
            preexec_fn=_ends_with_parent,
        )


def end(child: subprocess.Popen[bytes], patience: float = 10.0) -> None:
    """End a child that `begun` started, with whatever it started itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience)
            return


def end_left_behind(folder: ServerFolder) -> None:
    """End Flower's processes of a server that was killed: a ServerApp outlives its parents.

    Whoever calls has the folder's lock, so that none of them is of a server that is up. They are
    known by the certificate that they were told (Linux).
    """
    told = os.fsencode(folder.authority.absolute())
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            names = {word.rpartition(b"/")[2] for word in words[:2]}
            if told in words and names & _FLOWERS:
                os.kill(int(process.name), signal.SIGKILL)


_FLOWERS = {b"flower-superlink", b"flower-superexec", b"flwr-serverapp"}


def _ends_with_parent() -> None:
    """Linux ends a child whose parent was killed; elsewhere it would stay behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
