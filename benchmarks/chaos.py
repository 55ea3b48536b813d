"""Faults at random instants of a device's process: is every answer that left it on record?

    python benchmarks/chaos.py [--instants 40] [--seed 0] [--out FILE]     (make chaos)

A device is asked for round after round over its socket, each in a process of its own, while one
fault an instant, drawn anew, hits it: `device`, kill -9 of the device's process; `relay`, kill -9
of whoever asks; `disk`, files that may grow to so many bytes and no further; `record`, a kill and
half a line at the end of its record, as a cut power leaves it. Then the device is started again as
its owner would. After each instant: every round that was answered is on record, records cost at
least what the answers cost, no interaction is lost, and a round that nothing disturbs is answered.
Prints JSON; ends with 3 if anything of it does not hold. SuperLink and SuperNode are not in it.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from device import NODE, Rounds

from client.link import request_frame
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.ledger.budget import records
from shared.privacy.ledger.ledger import Ledger

FAULTS = ("device", "relay", "disk", "record")
PATIENCE = 120.0  # seconds
ASK = """
import sys, socket
from client.link import answer_of, receive
with socket.socket(socket.AF_UNIX) as link:
    link.connect(sys.argv[1])
    print("asking", flush=True)
    link.sendall(sys.stdin.buffer.read())
    answer_of(receive(link, patience=100))
    print("answered", flush=True)
"""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--instants", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="star") as folder:
        os.environ["STARLING_HOME"] = folder
        found = Chaos(Path(folder), random.Random(options.seed)).run(options.instants)
    text = json.dumps({"seed": options.seed, **found}, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    sys.exit(3 if found["wrong"] else 0)


class Chaos:
    """A device, what disturbs it, and what it has answered."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.rounds = Rounds(folder, 60, epsilon=8.0)
        self.owned = self.rounds.device(folder / "state")
        self.state, self.socket = folder / "state", folder / "s"
        self.kept = len(list(self.owned.store.interactions()))
        self.answered: list[int] = []
        self.number, self.process = 0, None
        self.wrong: list[str] = []

    def run(self, instants: int) -> dict[str, object]:
        """What happened at so many instants."""
        count: collections.Counter[str] = collections.Counter()
        self.start()
        self.undisturbed("at first")
        usual = self.took
        for instant in range(instants):
            fault = FAULTS[instant % len(FAULTS)]
            answered = len(self.answered)
            getattr(self, fault)(usual)
            told = "answered" if len(self.answered) > answered else "not answered"
            count[f"{fault}: {told}"] += 1
            self.kill()
            self.start()
            self.undisturbed(f"{fault} at instant {instant}")
            print(f"{instant + 1} {fault}: {told}", file=sys.stderr, flush=True)
        self.kill()
        entries = self.entries()
        return {
            "instants": instants,
            "faults": dict(count),
            "answered": len(self.answered),
            "on_record": len(entries),
            "epsilon_of_records": self.cost(len(entries)),
            "epsilon_of_answers": self.cost(len(self.answered)),
            "wrong": self.wrong,
        }

    def device(self, usual: float) -> None:
        """Kill -9 of the device."""
        asking = self.ask()
        time.sleep(self.chance.uniform(0, 1.2 * usual))
        self.kill()
        self.end(asking)

    def relay(self, usual: float) -> None:
        """Kill -9 of whoever asks."""
        asking = self.ask()
        time.sleep(self.chance.uniform(0, 1.2 * usual))
        asking.kill()
        self.end(asking)

    def disk(self, usual: float) -> None:
        """Files may grow to so many bytes."""
        self.kill()
        largest = max(file.stat().st_size for file in self.state.glob("*.jsonl"))
        share = self.chance.choice([0.0, 0.5, 1.0, 1.0])
        self.start(int(share * largest) + self.chance.randrange(300))
        if self.process is not None:
            self.end(self.ask())

    def record(self, usual: float) -> None:
        """Half a line at the end of its record."""
        self.kill()
        file = self.state / "participation.jsonl"
        last = file.read_bytes().splitlines()[-1]
        with file.open("ab") as stream:
            stream.write(last[: self.chance.randrange(1, len(last))])
        self.start()

    def undisturbed(self, after: str) -> None:
        """A round that nothing disturbs is answered, and all that was answered is on record."""
        start = time.monotonic()
        before = len(self.answered)
        self.end(self.ask())
        if not self.answered:
            sys.exit((self.folder / "log").read_text())
        self.took = time.monotonic() - start
        entries = self.entries()
        held = {
            "answers again": len(self.answered) == before + 1,
            "every answer is on record": set(self.answered) <= set(entries),
            "records cost as much": self.cost(len(entries)) >= self.cost(len(self.answered)),
            "no interaction lost": len(list(self.owned.store.interactions())) == self.kept,
        }
        wrong = [f"after {after}: not: {what}" for what, holds in held.items() if not holds]
        self.wrong += wrong
        for each in wrong:
            print(each, file=sys.stderr, flush=True)

    def ask(self) -> subprocess.Popen[bytes]:
        """A relay's process that has just begun to ask for the next round."""
        self.number += 1
        frame = request_frame(self.rounds.request(self.number), NODE).pack()
        asking = subprocess.Popen(
            [sys.executable, "-c", ASK, str(self.socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert asking.stdin  # noqa: S101 (for types)
        assert asking.stdout  # noqa: S101 (for types)
        asking.stdout.readline()
        with suppress(OSError):
            asking.stdin.write(frame)
            asking.stdin.close()
        asking.stdin = None
        return asking

    def end(self, asking: subprocess.Popen[bytes]) -> None:
        """Wait for it, and keep what it heard."""
        heard = asking.communicate(timeout=PATIENCE)[0]
        if b"answered" in heard:
            self.answered.append(self.number)

    def start(self, most: int | None = None) -> None:
        """As its owner does; with files of at most so many bytes."""

        def full() -> None:
            if most is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

        words = ["client", "serve", "--state", str(self.state), "--socket", str(self.socket)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "starling", *words],
                stderr=subprocess.DEVNULL if most is not None else log,
                preexec_fn=full,
            )
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as link:
                link.connect(str(self.socket))
                return
            time.sleep(0.05)
        if most is None:
            sys.exit((self.folder / "log").read_text())
        self.process = None

    def kill(self) -> None:
        """At once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def entries(self) -> list[int]:
        """Rounds on record, as the device itself would recover them."""
        kept = records(self.state / "participation.jsonl")
        each = [Ledger.recover(file, repair=False).entries for file in kept]
        return [entry.round for entries in each for entry in entries]

    def cost(self, times: int) -> float:
        """Epsilon of so many updates."""
        (file, *_) = records(self.state / "participation.jsonl")
        event = Ledger.recover(file, repair=False).entries[0].event
        return epsilon([(event, times)], 1e-2)


if __name__ == "__main__":
    main()
