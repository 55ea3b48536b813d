"""Devices in processes of their own, started as their owners start them, ended by their number."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from apps import client_app
from tests.support import ROOT
from tests.support.running.nodes import Node


class Served(Node):
    """A node whose person's device is another process; its relay knows the socket alone."""

    def __init__(self, folder, log, user, **owned):
        folder.mkdir(exist_ok=True)
        super().__init__(folder, log, user, **owned)
        self.process = None
        # A socket's name is short, whatever the tests' folder is called.
        self.place = Path(tempfile.mkdtemp(prefix="star"))
        self.socket, self.output = self.place / "s", folder / f"output-{user}"

    def relay(self):
        return client_app

    def node(self):
        """What its relay is configured with."""
        return {"device": str(self.socket)}

    def command(self):
        words = ["client", "serve", "--state", self.state, "--socket", self.socket]
        return [sys.executable, ROOT / "starling.py", *words]

    def start(self):
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(self.command(), stderr=output, cwd=ROOT)
        return self

    def ready(self):
        """Waits for the socket; if the process ends instead, what it said is the failure."""
        while not self.socket.exists():
            assert self.process.poll() is None, self.output.read_text()
            time.sleep(0.05)
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait()
        left = list(self.place.iterdir())
        for file in left:
            file.unlink()
        self.place.rmdir()
        return code, left
