"""Kills a process at random instants around its releases, and compares with what its ledger says.

    python -m tests.support.crashes FOLDER SEED

Each life is a fork that opens or recovers the ledger, releases as fast as it can, and tells through
a pipe what really left it: a pipe keeps what was written when its writer dies. The parent kills it
with SIGKILL, recovers the ledger itself, and prints one JSON object a life.

What a power failure would do (writes that the system accepted and never made durable) no kill can
show: the fsync in `Ledger.append` is not tested by this.
"""

import json
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path

import numpy as np

from server.release.releases import Releases
from shared.config import ExperimentConfig, FederationConfig, PrivacyConfig, TrainConfig
from shared.errors import LedgerError
from shared.privacy.ledger.budget import DeviceBudget
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.plan.plan import device_plan, server_plan

USERS, ROUNDS, POLICY = 1000, 4000, "0" * 64
SPREAD = 0.02  # seconds: opening and recovering, or a few releases
LIVES = 4  # of one ledger
SERVER = ExperimentConfig(
    federation=FederationConfig(rounds=ROUNDS, cohort=100.0), privacy=PrivacyConfig(epsilon=8.0)
)
DEVICE = ExperimentConfig(
    federation=FederationConfig(rounds=ROUNDS, cohort=100.0),
    privacy=PrivacyConfig(epsilon=8.0, unit="example", trust="local", example_sampling=1.0),
    train=TrainConfig(local_steps=1),
)
PLANS = {"server": server_plan(SERVER, USERS), "device": device_plan(DEVICE, USERS)}
EVENTS = {kind: plan.planned("update").event for kind, plan in PLANS.items()}


def live(kind, file, pipe):
    """Release round after round, as a real server or device does, until killed."""

    def tell(number):
        os.write(pipe, struct.pack("<I", number))  # at once: nothing of it waits in this process

    if kind == "server":
        releases = Releases(PLANS[kind], POLICY, file, None, file.with_suffix(".key"))
        for number in range(releases.last_round + 1, ROUNDS + 1):
            RELEASE[0](releases, number, tell)
    else:
        budget = DeviceBudget(file, PLANS[kind], POLICY, None)
        for number in range(len(budget.ledger) + 1, ROUNDS + 1):
            spend(budget, number, tell)
    signal.pause()  # nothing is left to do: it waits to be killed, however long that takes


def release(releases, number, tell):
    releases.release("update", np.zeros(16), number)
    tell(number)


def spend(budget, number, tell):
    budget.spend_update(number).normal(16)
    tell(number)


RELEASE = [release]  # where a fault is planted


def release_first(releases, number, tell):
    """Fault: what is recorded after it left is missing when the kill comes in between."""
    tell(number)
    time.sleep(SPREAD / 2)
    releases.release("update", np.zeros(16), number)


def twice(releases, number, tell):
    """Fault: every release is recorded twice."""
    releases.ledger.append(number, "update", EVENTS["server"])
    release(releases, number, tell)


def buffered(ledger, line):
    """Fault: lines are written four at a time."""
    WAITING.append(line)
    if len(WAITING) == 4:
        with ledger.path.open("ab") as file:
            file.write(b"".join(WAITING))
        WAITING.clear()


WAITING: list[bytes] = []
FAULTS = {"": release, "release first": release_first, "twice": twice, "buffered": release}
KILLS = {"": 100, "release first": 20, "twice": 10, "buffered": 20}


def plant(fault):
    """Make one of the mistakes that the test must see; none without a name."""
    RELEASE[0] = FAULTS[fault]
    if fault == "buffered":
        Ledger._write = buffered


def recorded(kind, file):
    """Rounds on the recovered ledger; none before it was created."""
    entries = Ledger.recover(file).entries if file.exists() else ()
    return [entry.round for entry in entries if entry.event == EVENTS[kind]]


def kill_once(kind, file, fault, releases, after):
    """One life, ended so long after so many releases: what it released and recorded."""
    before = recorded(kind, file)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            plant(fault)
            live(kind, file, writer)
        finally:
            os._exit(1)  # only an error gets here
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read(4 * releases)
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        told += pipe.read()
    released = [number for (number,) in struct.iter_unpack("<I", told)]
    torn = file.exists() and not file.read_bytes().endswith(b"\n")
    life = {"kind": kind, "fault": fault, "released": released, "torn": torn}
    life |= {"killed": os.WIFSIGNALED(status), "new_ledger": not before}
    return life | _since(kind, file, before)


def _since(kind, file, before):
    try:
        after = recorded(kind, file)
    except LedgerError as error:
        return {"recorded": [], "lost": True, "error": str(error)}
    return {"recorded": after[len(before) :], "lost": after[: len(before)] != before}


def main(folder, seed):
    """All lives; without a fault those of a server and of a device in turn."""
    rng = random.Random(seed)
    for fault, kills in KILLS.items():
        for number in range(kills):
            kind = "device" if number % 2 and not fault else "server"
            file = folder / f"{kind}-{fault}-{number // (2 * LIVES)}.jsonl"
            # None in one of five: it is killed as it opens or recovers the ledger.
            releases = rng.randrange(1, 4) if rng.random() < 0.8 else 0
            life = kill_once(kind, file, fault, releases, rng.uniform(0, SPREAD))
            sys.stdout.write(json.dumps(life) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
