"""What noise in shares costs: epsilon beside Gaussian noise of the same variance, and time.

    python benchmarks/shared_noise.py [--out benchmarks/results/shared_noise.json]

Epsilon is of 16 rounds over everyone at delta 1e-4, calibrated for the target: no chance in it.
Times are of one thread, the median of five.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from dp_accounting import GaussianDpEvent
from machine import hardware, load, versions

from shared.privacy.accounting.accountant import epsilon, epsilon_rdp
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.guarantee import Guarantee
from shared.privacy.mechanisms.fixed_point import FixedPoint
from shared.privacy.mechanisms.skellam import SkellamNoise
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.shared_noise import SharedSum, calibrate_shares

DELTA, ROUNDS, USERS = 1e-4, 16, 943
DRAWS = 1_000_000


def overheads() -> list[dict[str, float]]:
    """Of Skellam noise and of the Gaussian's with its variance, by grid and target."""
    rows = []
    for bits in (4, 8, 14):
        for target in (0.5, 1.0, 2.0, 4.0, 8.0):
            shared = SharedSum(FixedPoint(L2Clip(1.0), bits), USERS, USERS)
            promised = Guarantee("user", "zero_out", "distributed", "-", DELTA, 1, target)
            mechanism, _ = calibrate_shares(promised, shared, ROUNDS)
            gaussian = [(GaussianDpEvent(mechanism.noise_multiplier), ROUNDS)]
            rows.append(
                {
                    "grid_bits": bits,
                    "noise_multiplier": mechanism.noise_multiplier,
                    "skellam": epsilon([(mechanism.event(), ROUNDS)], DELTA),
                    "gaussian_rdp": epsilon_rdp(gaussian, DELTA),
                    "gaussian_pld": epsilon(gaussian, DELTA),
                    "ring_bits": mechanism.ring.bits,
                }
            )
    return rows


def speeds() -> list[dict[str, float]]:
    """Nanoseconds a number, and seconds until the first."""
    rows = []
    for variance in (3, 1_745_209, 2**30, 2**33):
        noise, source = SkellamNoise(variance), NoiseSource.seeded(0)
        start = time.perf_counter()
        noise.draw(source, 1)
        first = time.perf_counter() - start
        times = []
        for _ in range(5):
            start = time.perf_counter()
            noise.draw(source, DRAWS)
            times.append((time.perf_counter() - start) / DRAWS * 1e9)
        rows.append(
            {"variance": variance, "nanoseconds": statistics.median(times), "first_seconds": first}
        )
    start = time.perf_counter()
    NoiseSource.seeded(0).normal(DRAWS)
    gaussian = (time.perf_counter() - start) / DRAWS * 1e9
    return [*rows, {"variance": 0, "nanoseconds": gaussian, "first_seconds": 0.0}]


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = {
        "machine": hardware() | {"load": load()},
        "versions": versions(),
        "overheads": overheads(),
        "speeds": speeds(),
    }
    for row in found["overheads"]:
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()))
    for row in found["speeds"]:
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
