"""A SuperLink of one test's own, and `flwr run .` against it as a person would type it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.support import ROOT


def unpack(folder: Path) -> Path:
    """What is bundled, as a clone has it: the rest is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("apps.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder)
    return folder


@contextlib.contextmanager
def superlink(home: Path, *, simulation: bool = True):
    """A SuperLink on a free port that installs nothing; ended with its children.

    Flower's own local SuperLink listens on a fixed port and outlives the command.
    """
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    address = f'[superlink.local]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    (home / "config.toml").write_text(f'[superlink]\ndefault = "local"\n{address}')
    environment = environment_of(home)
    with (home / "superlink.log").open("w") as log:
        process = subprocess.Popen(
            [
                program("flower-superlink"),
                *("--insecure", "--host", "127.0.0.1", "--port", str(port)),
                *(["--simulation"] if simulation else []),
                "--disable-runtime-dependency-installation",
            ],
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", process)
            yield environment | {"SUPERLINK": f"127.0.0.1:{port}"}
        finally:
            end(process)


def supernode(environment: dict[str, str], home: Path, configured: dict[str, str]):
    """A SuperNode of its own home that connects to a SuperLink; to be ended by whoever asks."""
    home.mkdir(parents=True)
    told = " ".join(f'{name}="{value}"' for name, value in configured.items())
    with (home / "supernode.log").open("w") as log:
        return subprocess.Popen(
            [
                program("flower-supernode"),
                *("--insecure", "--superlink", environment["SUPERLINK"], "--node-config", told),
                *("--host", "127.0.0.1", "--port", str(free_port())),
            ],
            stdout=log,
            stderr=log,
            env=environment | {"FLWR_HOME": str(home)},
            start_new_session=True,
        )


def end(process: subprocess.Popen, how: signal.Signals = signal.SIGTERM) -> None:
    """With all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    process.wait()


def environment_of(home: Path) -> dict[str, str]:
    """Flower's and our files below one folder; no path of the checkout, nothing phoned home."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return kept | {
        "FLWR_HOME": str(home),
        "STARLING_HOME": str(home / "starling"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Not the cluster that another's run on this machine left in /tmp/ray/ray_current_cluster.
        "RAY_ADDRESS": "local",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait(url: str, process: subprocess.Popen) -> None:
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        assert process.poll() is None, "the SuperLink ended"
        time.sleep(0.2)
