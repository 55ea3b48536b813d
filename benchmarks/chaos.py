"""Faults at random instants of a whole federation: is anything lost, or spent and not counted?

    python benchmarks/chaos.py [--instants 52] [--seed 0] [--folder DIR] [--out FILE] (make chaos)

What `starling federation up` starts, runs until that many instants have passed, one federation
after another. Each instant one fault, the kinds by turns in an order that the seed draws:

    device supernode superexec relay    kill -9 of a device's process, of its SuperNode, of what
                                        starts relays there, of a relay with a message in hand
    superlink serverapp server          the same of the server's SuperLink, its ServerApp, and of
                                        `starling server run` itself
    tls                                 connections to the server are cut within what they say next
    disk clock                          a device's files may grow to so many bytes and no further;
                                        its clock is 30 hours ahead, or behind
    store record ledger                 a kill, and a store that is cut off; half a line at the end
                                        of a device's record, or of the server's ledger

Whoever ends is started again five seconds later, as a service manager would. Beside each fault a
process adds interactions to a device's store, and is killed too. At last: each run is complete and
`starling verify` passes; every answer that left a device, as heard on its socket, is on its record,
which costs at least as much; every interaction that was acknowledged is kept, and no other. Prints
JSON; ends with 3 if anything of it does not hold.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from faults import UNDER, WRITER, children, executors, half_a_line, killed, serverapps
from machine import hardware, load, versions
from taps import Tap, asked, before, between, left

from client.store import FILE, Interaction, Store
from server.up.conduct import STATE
from server.up.flower import begun, free_port
from server.up.folder import SETTINGS, ServerFolder
from shared.data.sources import open_log
from shared.errors import StarlingError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.ledger.budget import records
from shared.privacy.ledger.ledger import Ledger
from simulations.loopback.federation import Federation, Settings

PEOPLE, ROUNDS, ITEMS = 4, 8, 60
AGAIN = 5.0  # seconds until a process that ended is started again
APART = 15.0  # seconds between two instants, at most
LONGEST = 3600.0  # seconds of one federation
KINDS = (
    *("device", "supernode", "superexec", "relay", "superlink", "serverapp", "server"),
    *("tls", "disk", "clock", "store", "record", "ledger"),
)
SETTINGS_OF_RUN = """
[data]
negatives = 20
[model]
layers = 1
max_length = 12
lora_rank = 2
item_rank = 2
projection_rank = 4
[train]
max_windows = 2
[federation]
cohort = 1.0
[privacy]
delta = 1e-5
"""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--instants", type=int, default=52)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of them, with commas")
    parser.add_argument("--folder", type=Path, help="new; keep everything there")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    kinds = options.kinds.split(",")
    due = (kinds * options.instants)[: options.instants]
    chance.shuffle(due)
    started, runs = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="star") as place:
        folder = options.folder or Path(place)
        os.environ["STARLING_HOME"] = str(folder / "home")
        log = people(folder / "log")
        while due:
            runs.append(one(folder / f"{len(runs) + 1}", log, due, chance))
    wrong = [each for run in runs for each in run.pop("wrong")]
    told = {
        "seed": options.seed,
        "instants": options.instants,
        "seconds": round(time.monotonic() - started),
        "runs": runs,
        "wrong": wrong,
        "load": load(),
        "hardware": hardware(),
        "versions": versions(),
    }
    text = json.dumps(told, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    sys.exit(3 if wrong else 0)


def people(folder: Path) -> Path:
    """A log of a few people and items."""
    folder.mkdir(parents=True)
    rows = [f"u{u},i{(u * 17 + t * t) % ITEMS},{t}" for u in range(PEOPLE) for t in range(12)]
    (folder / "interactions.csv").write_text("\n".join(["user,item,timestamp", *rows, ""]))
    items = [f"i{n},Film number {n}" for n in range(ITEMS)]
    (folder / "items.csv").write_text("\n".join(["item,text", *items, ""]))
    (folder.parent / "settings.toml").write_text(SETTINGS_OF_RUN)
    return folder


def one(out: Path, log: Path, due: list[str], chance: random.Random) -> dict[str, object]:
    """One federation from its beginning to its end; faults that are due happen meanwhile."""
    options = ("--config", str(log.parent / "settings.toml"))
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:7.1f} {line}", file=sys.stderr, flush=True)

    chaos = Chaos(out, Settings(PEOPLE, ROUNDS, 4.0, (), options), say)
    chaos.due, chaos.chance = due, chance
    try:
        chaos.run(open_log(str(log)))
    except StarlingError as error:
        chaos.wrong.append(f"{out.name}: {error}")
    found = chaos.found() | {"seconds": round(time.monotonic() - started), "wrong": chaos.wrong}
    if chaos.wrong:
        due.clear()
    return found


class Chaos(Federation):
    """A federation that is disturbed, and put up again."""

    due: list[str]
    chance: random.Random

    def __init__(self, out: Path, settings: Settings, say) -> None:
        super().__init__(out, settings, say)
        self.words: dict[str, tuple[str, ...]] = {}
        self.taps: dict[int, Tap] = {}
        self.front: Tap | None = None
        self.wrong: list[str] = []
        self.happened: collections.Counter[str] = collections.Counter()
        self._ended: dict[str, float] = {}
        self._until: dict[str, float] = {}
        self._next = float("inf")
        self._acknowledged: dict[int, set[int]] = {}
        self._tried: dict[int, set[int]] = {}
        self._number = 1000

    # What is put between

    def _begin_server(self) -> None:
        super()._begin_server()
        file = self.server / SETTINGS
        asked_at, inner = ServerFolder(self.server).served.port, free_port()
        told = file.read_text()
        file.write_text(told.replace(f"port = {asked_at}\n", f"port = {inner}\n"))
        self.front = between(asked_at, inner)

    def _reached(self, number: int, socket: str) -> str:
        self.taps[number], path = before(socket)
        self._acknowledged[number] = {int(each.item[1:]) for each in self._kept(number)}
        self._tried[number] = set(self._acknowledged[number])
        return path

    def _state(self, number: int) -> Path:
        return self.out / "devices" / str(number)

    def _kept(self, number: int) -> list[Interaction]:
        return Store(self._state(number)).interactions()

    # Put up again

    def _start(self, name: str, *words: str) -> None:
        self.words[name] = words
        super()._start(name, *words)

    def _start_under(self, name: str, most: int | None, ahead: float) -> None:
        """As before, with files of at most so many bytes, or a clock so many seconds ahead."""
        starling = Path(__file__).parents[1] / "starling.py"
        words = [sys.executable, "-c", UNDER, json.dumps([most, ahead]), str(starling)]
        log = self.out / "logs" / f"{name}.log"
        self._children[name] = begun([*words, *self.words[name]], log, os.environ)
        self._until[name] = time.monotonic() + self.chance.uniform(5, 25)

    def _await(self) -> None:
        until = time.monotonic() + LONGEST
        self._draw()
        file, said = self.out / "logs" / "server.log", 0
        while self._children["server"].poll() != 0:
            self._check()
            lines = file.read_text(errors="replace").splitlines()
            for line in lines[said:]:
                self._say(line)
            said = len(lines)
            if time.monotonic() > until:
                self.wrong.append(f"{self.out.name}: not complete after {LONGEST:.0f} s")
                return
            time.sleep(0.2)

    def _check(self) -> None:
        now = time.monotonic()
        for name in [name for name, until in self._until.items() if now > until]:
            del self._until[name]
            self._kill(name)
        for name, child in list(self._children.items()):
            if child.poll() is None or (name == "server" and child.returncode == 0):
                continue
            if name not in self._ended:
                self._say(f"{name} has ended ({child.returncode})")
                self._ended[name] = now
            if now - self._ended[name] >= AGAIN:
                del self._ended[name]
                self._start(name, *self.words[name])
        if self.due and now > self._next and not self._ended:
            self._disturb()

    def _draw(self) -> None:
        self._next = time.monotonic() + self.chance.uniform(0, APART)

    # Disturbed

    def _disturb(self) -> None:
        kind = self.due.pop()
        number = self.chance.randint(1, PEOPLE)
        writer, numbers = self._write(self.chance.randint(1, PEOPLE))
        there = getattr(self, f"_hit_{kind}")(number)
        self._end_of(writer, numbers)
        self._say(f"*** {kind} {number}" + ("" if there else ": was not there, later"))
        if there:
            self.happened[kind] += 1
        else:
            self.due.insert(0, kind)
        self._draw()

    def _write(self, number: int) -> tuple[subprocess.Popen[str], int]:
        """A process that adds interactions to a device's store."""
        numbers = range(self._number, self._number + 20)
        self._number += 20
        self._tried[number].update(numbers)
        words = [sys.executable, "-c", WRITER, str(self._state(number)), *map(str, numbers)]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, stdout=pipe, stderr=subprocess.DEVNULL, text=True), number

    def _end_of(self, writer: subprocess.Popen[str], number: int) -> None:
        """Kill it within what it does, and keep what it was told is kept."""
        with suppress(subprocess.TimeoutExpired):
            writer.wait(self.chance.uniform(0, 3))
        writer.kill()
        said = writer.communicate()[0]
        whole = said.rpartition("\n")[0].split()
        self._acknowledged[number].update(map(int, whole))

    def _kill(self, name: str) -> bool:
        child = self._children[name]
        if child.poll() is not None:
            return False
        child.kill()
        child.wait()
        return True

    def _in_hand(self, number: int) -> None:
        """Wait, not for long, until a device was asked something; then a little longer."""
        until = time.monotonic() + 20
        while time.monotonic() < until and not asked(self.taps[number]):
            time.sleep(0.005)
        time.sleep(self.chance.uniform(0, 0.3))

    def _hit_device(self, number: int) -> bool:
        if self.chance.random() < 0.5:
            self._in_hand(number)
        return self._kill(f"device-{number}")

    def _hit_supernode(self, number: int) -> bool:
        return self._kill(f"relay-{number}")

    def _hit_superexec(self, number: int) -> bool:
        return any(map(killed, executors(self._children[f"relay-{number}"].pid)))

    def _hit_relay(self, number: int) -> bool:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            for parent in executors(self._children[f"relay-{number}"].pid):
                if any(map(killed, children(parent))):
                    return True
            time.sleep(0.01)
        return False

    def _hit_superlink(self, number: int) -> bool:
        file = self.server / "superlink" / STATE
        return file.exists() and killed(
            json.loads(file.read_text())["children"]["flower-superlink"]
        )

    def _hit_serverapp(self, number: int) -> bool:
        return sum(map(killed, serverapps(self.server / "ca.pem"))) > 0

    def _hit_server(self, number: int) -> bool:
        return self._kill("server")

    def _hit_tls(self, number: int) -> bool:
        open_ones = [each for each in self.front.connections if each.open] if self.front else []
        if self.chance.random() < 0.5:
            open_ones = open_ones[-1:]
        for each in open_ones:
            each.cut = True
        return bool(open_ones)

    def _hit_disk(self, number: int) -> bool:
        self._kill(name := f"device-{number}")
        kept = self._state(number).glob("*.jsonl")
        largest = max((file.stat().st_size for file in kept), default=0)
        share = self.chance.choice([0.0, 0.5, 1.0, 1.0])
        self._start_under(name, int(share * largest) + self.chance.randrange(300), 0)
        return True

    def _hit_clock(self, number: int) -> bool:
        self._kill(name := f"device-{number}")
        self._start_under(name, None, self.chance.choice((-1, 1)) * 30 * 3600.0)
        return True

    def _hit_store(self, number: int) -> bool:
        self._kill(f"device-{number}")
        file = self._state(number) / FILE
        with file.open("r+b") as stream:
            stream.truncate(self.chance.randrange(file.stat().st_size))
        return True

    def _hit_record(self, number: int) -> bool:
        kept = records(self._state(number) / "participation.jsonl")
        return bool(kept) and self._kill(f"device-{number}") and half_a_line(kept[-1], self.chance)

    def _hit_ledger(self, number: int) -> bool:
        file = ServerFolder(self.server).files.ledger
        if not file.exists():
            return False
        self._kill("server")
        self._hit_superlink(number)
        self._hit_serverapp(number)
        return half_a_line(file, self.chance)

    # Whether it holds

    def found(self) -> dict[str, object]:
        """What came of it; what does not hold is in `wrong`."""
        told: dict[str, object] = {"faults": dict(sorted(self.happened.items()))}
        told["devices"] = [self._found(number) for number in sorted(self.taps)]
        if self.front:
            self.front.close()
        with suppress(StarlingError):
            ledger = Ledger.recover(ServerFolder(self.server).files.ledger, repair=False)
            told["rounds"] = sum(entry.release == "update" for entry in ledger.entries)
        return told

    def _found(self, number: int) -> dict[str, object]:
        """Of one device."""
        self.taps[number].close()
        kept = {int(each.item[1:]) for each in self._kept(number)}
        answered = collections.Counter(left(self.taps[number]))
        files = records(self._state(number) / "participation.jsonl")
        entries = [e for file in files for e in Ledger.recover(file, repair=False).entries]
        recorded = collections.Counter((entry.release, entry.round) for entry in entries)
        events = {entry.release: entry.event for entry in entries}  # the same in every round

        def cost(of: collections.Counter[tuple[str, int]]) -> float:
            if not {release for release, _ in of} <= events.keys():
                return float("inf")
            return epsilon([(events[release], times) for (release, _), times in of.items()], 1e-5)

        spent = cost(answered), cost(recorded)
        holds = {
            "an interaction was lost": self._acknowledged[number] <= kept,
            "an interaction came from nowhere": kept <= self._tried[number],
            "an answer is not on record": answered <= recorded,
            "records cost less than answers": spent[0] <= spent[1],
        }
        self.wrong += [
            f"{self.out.name}: device {number}: {what}" for what, held in holds.items() if not held
        ]
        return {
            "interactions": len(kept),
            "sha256": hashlib.sha256(json.dumps(sorted(kept)).encode()).hexdigest()[:16],
            "acknowledged": len(self._acknowledged[number]),
            "answers": answered.total(),
            "on_record": recorded.total(),
            "epsilon_of_answers": spent[0],
            "epsilon_of_records": spent[1],
        }


if __name__ == "__main__":
    main()
