"""What noise in shares costs: epsilon beside Gaussian noise, extra noise by ring, and time.

    python benchmarks/shared_noise.py [--out benchmarks/results/shared_noise.json]

Epsilon is of 16 rounds over everyone at delta 1e-4, calibrated for the target: no chance in it.
Noise is of sums of 943 people's contributions, the same for every ring, all alike and as long as
they may be: what is not their sum, beside the noise that central trust adds for the same epsilon.
Times are of one thread, the median of five.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from dp_accounting import GaussianDpEvent
from machine import hardware, load, versions

from shared.config import ExperimentConfig, from_dict
from shared.errors import ConfigError
from shared.privacy.accounting.accountant import epsilon, epsilon_rdp
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.guarantee import Guarantee
from shared.privacy.mechanisms.distributed import Counted
from shared.privacy.mechanisms.skellam import SkellamNoise
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.plan import server_plan
from shared.privacy.plan.shared_noise import SharedSum, calibrate_shares
from shared.privacy.plan.summed import summed_form

DELTA, ROUNDS, USERS = 1e-4, 16, 943
DRAWS = 1_000_000
SIZES = {"histogram": 1_682, "moments": 25_000, "update": 22_000}


def overheads() -> list[dict[str, float]]:
    """Of Skellam noise and of the Gaussian's with its variance, by ring and target."""
    rows = []
    for bits in (12, 16, 32):
        for target in (0.5, 1.0, 2.0, 4.0, 8.0):
            shared = SharedSum(L2Clip(1.0), bits, Counted.on(None, 0.1, USERS, USERS))
            promised = Guarantee("user", "zero_out", "distributed", "-", DELTA, 1, target)
            try:
                (mechanism,) = calibrate_shares(promised, shared, ROUNDS, ())
            except ConfigError:
                continue  # that ring does not hold so much noise
            gaussian = [(GaussianDpEvent(mechanism.noise_multiplier), ROUNDS)]
            rows.append(
                {
                    "ring_bits": bits,
                    "noise_multiplier": mechanism.noise_multiplier,
                    "skellam": epsilon([(mechanism.event(), ROUNDS)], DELTA),
                    "gaussian_rdp": epsilon_rdp(gaussian, DELTA),
                    "gaussian_pld": epsilon(gaussian, DELTA),
                }
            )
    return rows


def settings(target: float, bits: int, trust: str, colluding: float) -> ExperimentConfig:
    """Of a run of 16 rounds over everyone, with moments."""
    privacy = {"epsilon": target, "trust": trust, "ring_bits": bits, "colluding": colluding}
    shares = {"histogram_share": 0.15, "moments_share": 0.4}
    return from_dict(
        {
            "federation": {"cohort": 1.0, "rounds": ROUNDS},
            "model": {"moments_rank": 8},
            "privacy": privacy | shares,
        }
    )


def extras() -> list[dict[str, float | str]]:
    """Noise of sums, measured, in units of the clip, and how much more than central trust's."""
    rows: list[dict[str, float | str]] = []
    for target in (1.0, 8.0):
        plan = server_plan(settings(target, 32, "central", 0.0), USERS)
        for colluding, bits in ((0.0, 32), (0.1, 32), (0.1, 16), (0.1, 14), (0.1, 12)):
            for kind, dim in SIZES.items():
                central = plan.planned(kind).mechanism.noise_multiplier if plan else 0.0
                try:
                    noise, milliseconds = summed(
                        settings(target, bits, "distributed", colluding), kind, dim
                    )
                except ConfigError:
                    continue
                rows.append(
                    {
                        "epsilon": target,
                        "colluding": colluding,
                        "ring_bits": bits,
                        "kind": kind,
                        "numbers": dim,
                        "central": central,
                        "distributed": noise,
                        "extra_percent": 100 * (noise / central - 1),
                        "milliseconds_a_message": milliseconds,
                    }
                )
    return rows


def summed(config: ExperimentConfig, kind: str, dim: int) -> tuple[float, float]:
    """Root mean square of what is not signal in a sum of everyone's messages; time of one."""
    form = summed_form(config, USERS, kind)
    row = np.random.default_rng(0).normal(size=dim)
    row *= form.mechanism.clip.norm / np.linalg.norm(row)
    total, times = np.zeros(dim, dtype=form.ring.words), []
    for user in range(USERS):
        start = time.perf_counter()
        message = form.encode(row, NoiseSource.seeded(0, user))
        times.append(time.perf_counter() - start)
        total = form.ring.add(total, message)
    error = form.decode(total) - USERS * row
    deviation = float(np.sqrt(np.mean(error**2))) / form.mechanism.clip.norm
    return deviation, 1e3 * statistics.median(times)


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
        "extras": extras(),
        "speeds": speeds(),
    }
    for name in ("overheads", "extras", "speeds"):
        for row in found[name]:
            told = (
                f"{at} {v:.4g}" if isinstance(v, float) else f"{at} {v}" for at, v in row.items()
            )
            print("  ".join(told))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
