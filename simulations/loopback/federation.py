"""A federation of processes: `starling` itself, called as an operator and owners would call it.

    OUT/server/       the operator's folder; run/ in it is what `starling verify` reads
    OUT/people/I/     a log of one person, gone into their device
    OUT/devices/I/    a device's folder; OUT/nodes/I/ its SuperNode's
    OUT/logs/         what each process said

All of them end with this process, however that ends.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.up.flower import begun, end, free_port
from shared.data.log import InteractionLog
from shared.errors import ConfigError, EngineError
from shared.files import make_folder
from shared.privacy.policy.caps import Caps
from simulations.loopback.people import chosen, write_people

Say = Callable[[str], None]
_STARLING = (sys.executable, str(Path(__file__).resolve().parents[2] / "starling.py"))
_LOOK = 0.2
_EXTRA = 4  # requests a device is asked beside its rounds, on a day


@dataclass(frozen=True)
class Settings:
    """Of a federation.

    Attributes
    ----------
    clients : int
        Devices, of one person each.
    rounds : int
    epsilon : float
        Budget of the run; inf: no noise.
    users : tuple of str
        Whose devices; empty: the people with the smallest keys.
    options : tuple of str
        Further words for `starling server init`.
    """

    clients: int
    rounds: int
    epsilon: float
    users: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Federation:
    """A server and devices on this machine.

    Parameters
    ----------
    out : Path
        New.
    settings : Settings
    say : callable
        Told what happens, a line each.
    """

    def __init__(self, out: Path, settings: Settings, say: Say) -> None:
        if out.exists():
            raise ConfigError(f"--out {out}: is there already; give a new folder")
        self.out, self._settings, self._say = out.absolute(), settings, say
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def server(self) -> Path:
        """The operator's folder."""
        return self.out / "server"

    def run(self, log: InteractionLog) -> None:
        """From nothing to a verified run.

        Raises
        ------
        ConfigError, DataError
            If it cannot begin.
        EngineError
            If one of the processes failed; its log is named.
        """
        users = chosen(log, self._settings.clients, self._settings.users)
        for name in ("logs", "devices", "nodes"):
            make_folder(self.out / name)
        write_people(log, users, self.out / "people" / "all")
        self._say(f"{len(users)} people: {', '.join(users)}")
        self._begin_server()
        with self._ended_at_last(), tempfile.TemporaryDirectory(prefix="star") as sockets:
            started = time.monotonic()
            self._serve()
            for number, user in enumerate(users, 1):
                self._device(number, user, log, Path(sockets))
            self._await()
            self._say(f"all of it took {time.monotonic() - started:.0f} s")
        self._say_all(self._starling("verify", str(self.server / "run")))

    def _begin_server(self) -> None:
        asked, people = self._settings, self.out / "people" / "all"
        words = ["--data", str(people), "--users", str(asked.clients), "--port", str(free_port())]
        words += ["--rounds", str(asked.rounds), "--epsilon", str(asked.epsilon), *asked.options]
        self._say_all(self._starling("server", "init", str(self.server), *words))
        count = str(asked.clients)
        where = str(self.out / "invitations")
        self._starling("server", "invite", str(self.server), "--count", count, "--out", where)

    def _serve(self) -> None:
        self._start("server", "server", "run", str(self.server), "--once")

    def _device(self, number: int, user: str, log: InteractionLog, sockets: Path) -> None:
        """Everything that is one person's: made, and its two processes started."""
        people = write_people(log, [user], self.out / "people" / str(number))
        state, node = self.out / "devices" / str(number), self.out / "nodes" / str(number)
        invitation = str(self.out / "invitations" / f"invitation-{number}.json")
        place = sockets / str(number)
        place.mkdir(mode=0o700)
        words = ["--state", str(state), "--invitation", invitation, "--user", user]
        self._up("client", "init", *words, "--hours", "any", "--log", str(people))
        always(state / "device.toml")
        if by_hand := caps_by_hand(self._settings):
            lines = "".join(f"{name} = {value}\n" for name, value in by_hand.items())
            (state / "caps.toml").write_text(lines)
            if number == 1:
                told = ", ".join(lines.splitlines())
                self._say(f"by the owners' hand, beyond what a device allows by itself: {told}")
        socket = str(place / "s")
        self._start(
            f"device-{number}", "client", "serve", "--state", str(state), "--socket", socket
        )
        reached = self._reached(number, socket)
        self._up("client", "join", invitation, "--node", str(node), "--socket", reached)
        self._start(f"relay-{number}", "client", "relay", str(node))

    def _reached(self, number: int, socket: str) -> str:
        """Where a relay finds its device."""
        return socket

    def _up(self, *words: str) -> None:
        """A command that needs the server to be up: which it soon is."""
        until = time.monotonic() + 120
        while True:
            try:
                self._starling(*words)
                return
            except EngineError as error:
                if "cannot be reached" not in str(error) or time.monotonic() > until:
                    raise
                self._check()
                time.sleep(_LOOK)

    def _await(self) -> None:
        """Until the server has ended, saying what it says."""
        file, said = self.out / "logs" / "server.log", 0
        while True:
            ended = self._children["server"].poll()
            lines = file.read_text(errors="replace").splitlines(keepends=True)
            for line in lines[said:]:
                if line.endswith("\n"):
                    self._say(line.rstrip())
                    said += 1
            if ended is not None:
                if ended:
                    raise EngineError(f"the server ended with {ended}; {file} says why")
                return
            self._check()
            time.sleep(_LOOK)

    def _check(self) -> None:
        for name, child in self._children.items():
            if name != "server" and child.poll() is not None:
                raise EngineError(f"{name} ended; {self.out / 'logs' / name}.log says why")

    def _say_all(self, text: str) -> None:
        for line in text.strip().splitlines():
            self._say(line)

    def _starling(self, *words: str) -> str:
        """Run a command to its end; what it printed."""
        done = subprocess.run(
            [*_STARLING, *words], capture_output=True, text=True, env=_environment(), check=False
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or [""]
            raise EngineError(f"starling {' '.join(words[:2])}: {said[-1].removeprefix('error: ')}")
        return done.stdout

    def _start(self, name: str, *words: str) -> None:
        log = self.out / "logs" / f"{name}.log"
        self._children[name] = begun([*_STARLING, *words], log, _environment())

    @contextmanager
    def _ended_at_last(self) -> Iterator[None]:
        try:
            yield
        finally:
            for child in reversed(self._children.values()):
                end(child)
            shutil.rmtree(self.out / "people", ignore_errors=True)


def caps_by_hand(settings: Settings) -> Mapping[str, str]:
    """What an owner has to write so that a device takes part: nothing, within its own caps."""
    own, found = Caps(), {}
    if settings.epsilon > own.epsilon:
        found["epsilon"] = "inf" if math.isinf(settings.epsilon) else repr(settings.epsilon)
    asked = settings.rounds + _EXTRA
    if asked > own.rounds_per_day:
        found["rounds_per_day"] = str(asked)
    return found


def always(settings: Path) -> None:
    """A device's settings without conditions of power or network: this one is for looking at."""
    told = settings.read_text()
    for condition in ("charging", "unmetered"):
        told = told.replace(f"\n{condition} = true\n", f"\n{condition} = false\n")
    settings.write_text(told)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONUNBUFFERED": "1"}
