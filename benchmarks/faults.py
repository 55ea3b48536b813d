"""What happens to processes and files, one fault each; see `chaos.py`."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

UNDER = """
import json, resource, runpy, sys
most, ahead = json.loads(sys.argv[1])
if most is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
if ahead:
    import datetime
    import client.device.clock as clock
    class Jumped(datetime.datetime):
        @classmethod
        def now(cls, zone=None):
            return super().now(zone) + datetime.timedelta(seconds=ahead)
    clock.datetime = Jumped
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
WRITER = """
import sys
from pathlib import Path
from client.store import Interaction, Store
store = Store(Path(sys.argv[1]))
for number in sys.argv[2:]:
    store.add([Interaction(f"i{number}", int(number))])
    print(number, flush=True)
"""


def half_a_line(file: Path, chance: random.Random) -> bool:
    """As a cut power leaves a record: the beginning of a line at its end."""
    last = file.read_bytes().splitlines()[-1]
    with file.open("ab") as stream:
        stream.write(last[: chance.randrange(1, len(last))])
    return True


def children(process: int) -> list[int]:
    """Of a process."""
    with suppress(OSError):
        return [
            int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    return []


def executors(relay: int) -> list[int]:
    """What starts the relays of a SuperNode."""
    found = []
    for each in children(relay):
        with suppress(OSError):
            if b"flower-superexec" in Path(f"/proc/{each}/cmdline").read_bytes():
                found.append(each)
    return found


def killed(process: int) -> bool:
    """Kill -9; whether it was there."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
        return True
    return False


def serverapps(authority: Path) -> list[int]:
    """The ServerApps of a server, by the certificate that they were told."""
    told, found = os.fsencode(authority), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if told in words and any(word.endswith(b"flwr-serverapp") for word in words[:2]):
                found.append(int(process.name))
    return found
