"""What a device's own process takes, and what a relay to it costs beside an app that loads torch.

    python benchmarks/device.py [--repeats 5] [--items 10000] [--idle 60] [--out FILE]

Three answer the same request in turns, each for a folder of its own: a resident device in this
process (training alone), a relay that is started for the message and asks `starling client serve`
over its socket, and an app started for the message that opens the folder itself. Both of these are
processes of Flower's: the app imports what `flwr-clientapp` does, the relay what ours has loaded
for a message (`client.relay.load`), and they are measured from their start to their end; what
Flower's link takes on top is the same for both. Memory is what stays resident, at
most; idle CPU is that of the device's process after its rounds. All with the owner's default
limits: one thread, nice 10.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

REQUEST, ARRAYS, NODE = "request.json", "arrays.safetensors", 2
CAPS = 'epsilon = "inf"\ndelta = 1e-2\nunit = "example"\nsums = false\nrounds_per_day = "inf"\n'
_TICK = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, or answer as one of those that are measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to watch it do nothing")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--answer", nargs=2, metavar=("relay|plain", "FOLDER"))
    options = parser.parse_args()
    if options.answer:
        answer(options.answer[0], Path(options.answer[1]))
        return
    with tempfile.TemporaryDirectory(prefix="star") as folder:
        os.environ["STARLING_HOME"] = folder  # the operator's key, too
        found = measured(Path(folder), options)
    text = json.dumps(found, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def measured(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """All figures."""
    from machine import hardware, load, versions

    from client.device.resident import Resident

    request = Rounds(folder, options.items)
    devices = {name: request.device(folder / name) for name in ("resident", "relay", "plain")}
    resident = Resident(devices["resident"])
    devices["resident"].owned.limits.hold()
    times: dict[str, list[float]] = {name: [] for name in devices}
    most: dict[str, int] = {}
    with (folder / "log").open("wb") as log:
        served = subprocess.Popen(
            [sys.executable, "-m", "starling", "client", "serve", "--state", str(folder / "relay")],
            stderr=log,
        )
    try:
        socket = folder / "relay" / "serving" / "device.sock"
        while not socket.exists():
            if served.poll() is not None:
                sys.exit((folder / "log").read_text())
            time.sleep(0.05)
        for number in range(options.repeats + 1):  # the first builds the models
            asked = request.write(number + 1)
            start = time.perf_counter()
            resident.answer(asked, NODE)
            took = {"resident": time.perf_counter() - start}
            for name in ("relay", "plain"):
                took[name], most[name] = one(name, folder)
            for name, seconds in took.items():
                times[name] += [seconds] * (number > 0)
        rested = {"after_rounds_mib": resident_mib(served.pid)}
        before = ticks(served.pid)
        time.sleep(options.idle)
        idle = (ticks(served.pid) - before) / _TICK / options.idle
        peak = resident_mib(served.pid, "VmHWM")
    finally:
        served.terminate()
        served.wait()
    middle = {name: statistics.median(each) for name, each in times.items()}
    return {
        "seconds": times,
        "overhead_seconds": {
            name: middle[name] - middle["resident"] for name in ("relay", "plain")
        },
        "relay_mib": most["relay"],
        "plain_mib": most["plain"],
        "device_mib": {**rested, "most": peak},
        "idle_cpu_percent": 100 * idle,
        "items": options.items,
        "load": load(),
        "hardware": hardware(),
        "versions": versions(),
    }


def one(how: str, folder: Path) -> tuple[float, int]:
    """Seconds and most MiB of a process that is started for one message."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--answer", how, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.nice(-os.nice(0)) if os.getuid() == 0 else None,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr)
    return seconds, int(done.stdout)


class Rounds:
    """A run's requests for updates, one a round, and devices that have agreed to nothing yet."""

    def __init__(self, folder: Path, items: int, epsilon: float = float("inf")) -> None:
        from client.store import Interaction
        from shared.config import from_dict, settings_hash
        from shared.data.catalogue import Catalogue
        from shared.model.adapter import AdapterSchema, current
        from shared.model.backbone import resolve
        from shared.model.items import item_vectors
        from shared.model.recommender import build_recommender
        from shared.privacy.keys import load_or_create_signing_key, public_hex
        from shared.privacy.policy.issue import policy_of
        from shared.privacy.policy.signed import signed

        self.folder = folder
        names = [f"i{n}" for n in range(items)]
        kinds = ("drama", "comedy", "thriller", "musical", "western")
        texts = [f"Film number {n}. {kinds[n % len(kinds)]}" for n in range(items)]
        self.catalogue = Catalogue((*names,), (*texts,))
        self.did = [Interaction(names[n * 37 % items], n) for n in range(120)]
        source = resolve("minilm")
        self.config = from_dict(
            {
                "model": {"layers": 2, "backbone_sha256": source.digest},
                "federation": {
                    "rounds": 1000,
                    "cohort": 1.0,
                    "popularity_start": False,
                    "secure_aggregation": "off",
                },
                "privacy": {"epsilon": epsilon, "delta": 1e-2},
            }
        )
        vectors = item_vectors(self.catalogue.texts, source)
        model = build_recommender(source, vectors, self.config.model)
        schema = AdapterSchema.of(model)
        self.arrays = schema.split(current(model, schema).numpy())
        self.schema, self.settings = schema.trainable.digest, settings_hash(self.config)
        key = load_or_create_signing_key()
        self.operator = public_hex(key)
        made = policy_of(self.config, 10, schema.digest, self.operator, datetime.now(UTC), 1)
        self.policy = signed(made, key)

    def device(self, path: Path):
        """The folder of another device of the same person."""
        from client.device.folder import DeviceFolder, Owned

        folder = DeviceFolder.begin(path, Owned("u", self.operator), self.catalogue)
        folder.store.add(self.did)
        (path / "caps.toml").write_text(CAPS)
        return folder

    def write(self, number: int):
        """The request of a round, also where a process finds it."""
        from safetensors.numpy import save_file

        save_file(self.arrays, self.folder / ARRAYS)
        request = self.request(number)
        (self.folder / REQUEST).write_text(json.dumps(request.fields()))
        return request

    def request(self, number: int):
        """The request of a round."""
        from shared.request import Request

        return Request(
            "update",
            self.config,
            10,
            self.settings,
            policy=self.policy,
            round_number=number,
            arrays=self.arrays,
            schema=self.schema,
        )


def answer(how: str, folder: Path) -> None:
    """As `flwr-clientapp` does for one message: a process that lives as long as its answer."""
    if how == "relay":
        from client.relay import load

        load()
    else:
        import flwr.supernode.cli.flwr_clientapp  # noqa: F401 (what Flower's own process imports)
    from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
    from flwr.supercore.task_identity import TaskIdentity
    from safetensors.numpy import load_file

    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    arrays = {name: Array(value) for name, value in load_file(folder / ARRAYS).items()}
    fields = json.loads((folder / REQUEST).read_text())
    content = RecordDict({"config": ConfigRecord(fields), "arrays": ArrayRecord(arrays)})
    message = Message(content, dst_node_id=NODE, message_type="train")
    message.metadata.__dict__["_message_id"] = "1"
    node = {"device": str(folder / "relay" / "serving" / "device.sock")}
    if how == "relay":
        from apps import client_app as app
    else:
        app = opened(folder / "plain")
    reply = app(message, Context(1, NODE, node, RecordDict(), {}))
    if "update" not in reply.content:
        sys.exit("declined: the log of the device says why")
    print(resident_mib(os.getpid(), "VmHWM"))  # the peak of getrusage is inherited over a fork


def opened(folder: Path):
    """An app that opens the person's data in its own process."""
    from types import SimpleNamespace

    from client.app import create_app
    from client.device.folder import DeviceFolder
    from client.device.resident import Resident

    def connect(context: object, request: object) -> SimpleNamespace:
        device = DeviceFolder(folder)
        device.owned.limits.hold()
        resident = Resident(device)
        return SimpleNamespace(answer=lambda asked: resident.answer(asked, NODE))

    return create_app(connect)


def resident_mib(process: int, what: str = "VmRSS") -> int:
    """Of a process, now or (VmHWM) at most."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith(what + ":"))


def ticks(process: int) -> int:
    """Of processor time that a process has had."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


if __name__ == "__main__":
    main()
