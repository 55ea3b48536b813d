"""How fast a device recommends: in process, and over its page's service, beside a steady load.

    OMP_NUM_THREADS=1 python benchmarks/serving.py [--items 10000] [--seconds 60]

A catalogue of made-up public texts, the default settings on the bundled language model, a random
adapter as a release, a history of fifty, one thread. Nothing of an answer is kept, so every request
is computed anew. The service runs in a process of its own; the load is sent on a schedule that
does not wait for answers, so a slow one delays those behind it, as it would for a person.
Beside the time on the clock stands that on the core, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402 (needs the path above)
import numpy as np  # noqa: E402 (needs the path above)
import torch  # noqa: E402 (needs the path above)

from client.device.folder import DeviceFolder  # noqa: E402 (needs the path above)
from client.person.person import Person  # noqa: E402 (needs the path above)
from client.store import Interaction  # noqa: E402 (needs the path above)
from shared.data.catalogue import Catalogue  # noqa: E402 (needs the path above)
from tests.support.running import released  # noqa: E402 (needs the path above)

WORDS = ["amber", "bridge", "cedar", "delta", "ember", "forest", "garden", "harbour", "island"]
KINDS = ["Drama", "Comedy", "Sci-Fi", "Thriller", "Romance", "Horror", "Western", "Mystery"]
HISTORY, WARM, ASKED, RATE = 50, 20, 300, 20.0


def catalogue_of(items: int) -> Catalogue:
    """Made-up films."""
    rng = np.random.default_rng(0)
    texts = [
        f"{' '.join(rng.choice(WORDS, 4)).title()} {i} ({rng.integers(1950, 2020)}). "
        f"{', '.join(rng.choice(KINDS, 2, replace=False))}"
        for i in range(items)
    ]
    return Catalogue(tuple(f"i{i}" for i in range(items)), tuple(texts))


def quantiles(seconds: list[float]) -> dict[str, float]:
    """In milliseconds."""
    p50, p99, worst = np.quantile(seconds, (0.5, 0.99, 1.0)) * 1000
    return {"p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "worst_ms": round(worst, 1)}


def rss_mb(pid: int) -> float:
    """Memory of a process that is in use."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024)


def cpu_seconds(pid: int) -> float:
    """That a process was on a core."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def in_process(person: Person) -> dict[str, float]:
    """One answer after the other, each of another history."""
    took, busy = [], []
    for _ in range(WARM + ASKED):
        begin, at = time.perf_counter(), time.thread_time()
        found = person.recommend(10)
        took.append(time.perf_counter() - begin)
        busy.append(time.thread_time() - at)
        if len(found) != 10:
            raise SystemExit(f"expected 10 recommendations, found {len(found)}")
    return {**quantiles(took[WARM:]), "cpu_p50_ms": quantiles(busy[WARM:])["p50_ms"]}


def over_http(state: Path, seconds: float) -> dict[str, object]:
    """A steady load on the page's service."""
    command = [sys.executable, ROOT / "starling.py", "client", "page", "--state", state]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        if served.stdout is None:
            raise SystemExit("the page says nothing")
        served.stdout.readline()
        api = served.stdout.readline().split()[1]
        token = (state / "page-token").read_text().strip()
        head = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=api, headers=head, timeout=30, trust_env=False) as client:

            def ask() -> None:
                client.get("recommendations").raise_for_status()

            for _ in range(WARM):
                ask()
            took, errors, begin, busy = [], 0, time.perf_counter(), cpu_seconds(served.pid)
            for number in range(int(RATE * seconds)):
                due = begin + number / RATE
                time.sleep(max(0.0, due - time.perf_counter()))
                try:
                    ask()
                except httpx.HTTPError:
                    errors += 1
                took.append(time.perf_counter() - due)
        held = len(took) / (time.perf_counter() - begin)
        busy = (cpu_seconds(served.pid) - busy) / len(took)
        found = {"requests": len(took), "errors": errors, "per_second": round(held, 1)}
        return {
            **found,
            **quantiles(took),
            "cpu_ms": round(1000 * busy, 1),
            "rss_mb": rss_mb(served.pid),
        }
    finally:
        served.terminate()
        served.wait()


def main() -> None:
    """Measure, and print one JSON document."""
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("--items", type=int, default=10_000)
    parse.add_argument("--seconds", type=float, default=60.0)
    given = parse.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        place, catalogue = Path(folder), catalogue_of(given.items)
        device: DeviceFolder = released.begun(place / "state", catalogue)
        model = {"lora_rank": 8, "max_length": HISTORY, "projection_rank": 32}
        device.install(released.release(place / "1", "minilm", catalogue, model=model))
        person = Person(device)
        device.store.add(Interaction(f"i{i}", i) for i in range(HISTORY))
        begin = time.perf_counter()
        person.recommend(10)
        first = round(time.perf_counter() - begin, 1)
        found = {"items": given.items, "first_answer_s": first}
        found["in process"] = in_process(person)
        found["over http"] = over_http(place / "state", given.seconds)
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
