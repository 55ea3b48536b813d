"""What secure aggregation costs: beside Flower's SecAgg+ on the same work, in bytes, and of many.

    python benchmarks/secure_aggregation.py [--out benchmarks/results/secure_aggregation.json]

All devices and the server are in one process. The same float32 updates go in and their mean comes
out; neighbours and threshold are equal, repeats interleaved. Theirs is `SecAggPlusWorkflow` with
`secaggplus_mod`; its messages are handed over in memory, as ours are. Ours are packed and unpacked.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from machine import hardware, load, versions

from shared.secagg.aggregator import Aggregator
from shared.secagg.parameters import parameters
from shared.secagg.participant import Participant
from shared.secagg.session import Session

LIMIT = 8.0  # of a number
COLLUDING, LEAST = 0.1, 0.6


class Devices:
    """A cohort, which identities it has, and what each contributes."""

    def __init__(self, cohort, dim):
        self.dim, self.nodes = dim, list(range(1, cohort + 1))
        self.keys = {node: Ed25519PrivateKey.generate() for node in self.nodes}
        self.known = {node: key.public_key().public_bytes_raw() for node, key in self.keys.items()}

    def update(self, node):
        """float32, [dim]."""
        return np.random.default_rng(node).uniform(-1, 1, self.dim).astype(np.float32)

    def mean(self, nodes):
        """What should come out."""
        return sum(self.update(node).astype(np.float64) for node in nodes) / len(nodes)


def ours(devices, bits=32, dropouts=0):
    """Mean, seconds a stage, bytes that a device sends."""
    cohort = len(devices.nodes)
    fewest = int(LEAST * cohort)
    session = Session(b"benchmark", os.urandom(16), bits, devices.dim, fewest, COLLUDING)
    step = (2 ** (bits - 1) - 1) // cohort / LIMIT
    ring = session.ring
    marks, sent = [time.perf_counter()], [0] * 5

    def collect(stage, replies):
        replies = dict(replies)
        sent[stage] = max(map(len, replies.values()))
        marks.append(time.perf_counter())
        return replies

    def trusted(node, identity):
        return devices.known[node] == identity

    there = {n: Participant(session, n, key, trusted) for n, key in devices.keys.items()}
    server = Aggregator(session)
    adverts = server.adverts(collect(0, ((n, each.advertise()) for n, each in there.items())))
    deliveries = server.deliveries(collect(1, ((n, p.share(adverts)) for n, p in there.items())))
    for node in devices.nodes[:dropouts]:
        del there[node]
    for node, participant in there.items():
        whole = np.rint(devices.update(node).astype(np.float64) * step).astype(np.int64)
        message = ring.pack(participant.mask(deliveries.pop(node), ring.reduce(whole)))
        sent[2] = len(message)
        server.add(node, ring.unpack(message, devices.dim))
    marks.append(time.perf_counter())
    listed = server.survivors()
    quorum = server.quorum(collect(3, ((n, each.agree(listed)) for n, each in there.items())))
    total = server.total(collect(4, ((n, each.reveal(quorum)) for n, each in there.items())))
    mean = ring.centred(total) / step / len(there)
    marks.append(time.perf_counter())
    names = ("advertise", "share", "mask", "agree", "reveal", "unmask")
    return mean, dict(zip(names, np.diff(marks).round(3).tolist(), strict=True)), sum(sent)


def theirs(devices, neighbours, threshold):
    """Mean, seconds and bytes of a device's masked input."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
    from flwr.client.mod import secaggplus_mod
    from flwr.common import Code, FitIns, FitRes, Status, ndarrays_to_parameters
    from flwr.common import parameters_to_ndarrays as arrays
    from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS
    from flwr.common.secure_aggregation.secaggplus_constants import Key as Masked
    from flwr.compat.common import recorddict_compat as compat
    from flwr.server import LegacyContext
    from flwr.server.workflow import SecAggPlusWorkflow
    from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1

    def context(node):
        return Context(0, node, {}, RecordDict(), {})

    contexts = {node: context(node) for node in devices.nodes}
    found, sent = [], [0]

    def train(message, known):
        update = ndarrays_to_parameters([devices.update(known.node_id)])
        result = FitRes(Status(Code.OK, ""), update, 1, {})
        return Message(compat.fitres_to_recorddict(result, False), reply_to=message)

    class InProcess:
        def send_and_receive(self, messages, *, timeout=None):
            replies = []
            for message in messages:
                node = message.metadata.dst_node_id
                records = dict(message.content)  # a reader takes things out of what all are sent
                records[RECORD_KEY_CONFIGS] = ConfigRecord(dict(records[RECORD_KEY_CONFIGS]))
                message.content = RecordDict(records)
                replies.append(secaggplus_mod(message, contexts[node], train))
                for record in replies[-1].content.config_records.values():
                    masked = record.get(Masked.MASKED_PARAMETERS, [])
                    sent[0] = max(sent[0], sum(map(len, masked)))
            return replies

    class Strategy:
        def configure_fit(self, number, start, manager):
            proxies = (SimpleNamespace(node_id=node) for node in devices.nodes)
            return [(proxy, FitIns(start, {})) for proxy in proxies]

        def aggregate_fit(self, number, results, failures):
            found.append(arrays(results[0][1].parameters)[0])
            return None, {}

    legacy = LegacyContext(
        context(0), None, Strategy(), SimpleNamespace(num_available=lambda: len(devices.nodes))
    )
    legacy.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
    legacy.state.array_records[MAIN_PARAMS_RECORD] = ArrayRecord([np.zeros(1, np.float32)])
    workflow = SecAggPlusWorkflow(
        neighbours + 1, threshold, max_weight=1.0, clipping_range=LIMIT, quantization_range=2**22
    )
    start = time.perf_counter()
    workflow(InProcess(), legacy)
    seconds = time.perf_counter() - start
    logging.disable(logging.NOTSET)
    return found[0], seconds, sent[0]


def beside_flower(cohort, dim, repeats):
    """Seconds of both, interleaved, and their ratio."""
    devices = Devices(cohort, dim)
    used = parameters(cohort, int(LEAST * cohort), COLLUDING)
    times = {"ours": [], "theirs": []}
    expected = devices.mean(devices.nodes)
    for _ in range(repeats):
        start = time.perf_counter()
        mean, stages, _ = ours(devices)
        times["ours"].append(time.perf_counter() - start)
        error = float(np.abs(mean - expected).max())
        mean, seconds, sent = theirs(devices, used.neighbours, used.threshold)
        times["theirs"].append(seconds)
        their_error = float(np.abs(mean - expected).max())
    middle = {name: statistics.median(each) for name, each in times.items()}
    return {
        "cohort": cohort,
        "dim": dim,
        "neighbours": used.neighbours,
        "threshold": used.threshold,
        "seconds": times,
        "ratio": middle["ours"] / middle["theirs"],
        "error": error,
        "their_error": their_error,
        "their_bytes": sent,
        "stages": stages,
    }


def uploads(cohort, dim):
    """Bytes that a device sends over all stages, beside a float32 update, by bits of the ring."""
    devices, rows = Devices(cohort, dim), []
    for bits in (32, 16, 12):
        _, stages, sent = ours(devices, bits)
        seconds = sum(stages.values())
        rows.append({"bits": bits, "bytes": sent, "ratio": sent / (4 * dim), "seconds": seconds})
    return rows


def many(cohort, dim):
    """Seconds and memory of one large cohort, of which a tenth drops out, in a fresh process."""
    devices = Devices(cohort, dim)
    before = peak_kib()
    start = time.perf_counter()
    mean, stages, sent = ours(devices, 32, cohort // 10)
    seconds = time.perf_counter() - start
    peak = peak_kib()
    error = float(np.abs(mean - devices.mean(devices.nodes[cohort // 10 :])).max())
    return {
        "cohort": cohort,
        "dim": dim,
        "neighbours": parameters(cohort, int(LEAST * cohort), COLLUDING).neighbours,
        "seconds": seconds,
        "stages": stages,
        "bytes": sent,
        "peak_mib": peak / 1024,
        "kib_a_client": (peak - before) / cohort,
        "error": error,
    }


def peak_kib():
    """Most memory that this process has had so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0])


def apart(cohort, dim):
    """`many` in a process of its own."""
    command = [sys.executable, __file__, "--many", str(cohort), str(dim)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def rows(found):
    """What a page says of it."""
    beside = found["beside_flower"]
    middle = {name: statistics.median(each) for name, each in beside["seconds"].items()}
    told = [
        f"| {beside['cohort']} devices, {beside['dim']:,} numbers, {beside['neighbours']} "
        f"neighbours | {middle['ours']:.1f} s | {middle['theirs']:.1f} s |"
    ]
    for each in found["uploads"]:
        told.append(f"| {each['bits']} bits | {each['bytes']:,} | {each['ratio']:.3f} |")
    for each in found["many"]:
        told.append(
            f"| {each['cohort']:,} | {each['dim']:,} | {each['neighbours']} | "
            f"{each['seconds']:.0f} s | {each['kib_a_client']:.0f} KiB |"
        )
    return told


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cohort", type=int, default=100)
    parser.add_argument("--dim", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--many", type=int, nargs=2)
    parser.add_argument("--largest", type=int, default=1000)
    arguments = parser.parse_args()
    if arguments.many:
        print(json.dumps(many(*arguments.many)))
        return
    sizes = [(arguments.cohort, 10_000), (arguments.largest, 10_000), (arguments.largest, 100_000)]
    found = {
        "machine": hardware() | {"load": load()},
        "versions": versions(),
        "beside_flower": beside_flower(arguments.cohort, arguments.dim, arguments.repeats),
        "uploads": uploads(arguments.cohort, arguments.dim),
        "many": [apart(*size) for size in sizes],
    }
    for name in ("beside_flower", "uploads", "many"):
        print(json.dumps(found[name], indent=1))
    print("\n".join(rows(found)))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
