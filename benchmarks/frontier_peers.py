"""What accuracy against epsilon is compared with: anchors without noise, and private ALS.

    python benchmarks/frontier_peers.py [--data NAME,NAME,...] [--users N] [--epsilon 1,2,8,inf]
                                        [--peers popularity,ease,dp_als,pfedrec,pfedrec_spared]
                                        [--seeds 0,1,2] [--out FILE]

Everything is split and ranked as `starling simulate` does it, over the same people. DP-ALS has the
product's unit (a person, present or all zero), its delta and its accountant; its settings are
chosen on the validation items of other people (`TUNED_ON`), with the noise scaled by how many there
are, and once more on its own people's, which is not private and can only flatter it. Rows of the
same log, people, peer and epsilon in the results are replaced, others stay.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # found without being installed

from logs import LOGS, present  # noqa: E402 (needs the path above)
from machine import hardware, versions  # noqa: E402 (needs the path above)
from peers import dp_als, pfedrec  # noqa: E402 (needs the path above)
from peers.anchors import LAMBDAS, Log, ease, popularity  # noqa: E402 (needs the path above)

from shared.privacy.accounting.accountant import calibrate, default_delta, epsilon  # noqa: E402 (needs the path above)
from shared.privacy.guarantee import USER_CENTRAL, Guarantee  # noqa: E402 (needs the path above)

Row = dict[str, Any]
TUNED_ON = {"movielens-100k": ("movielens-1m", 943), "movielens-1m": ("movielens-100k", None)}
TUNING_SEEDS = (100, 101, 102)
PASSES, ROUNDS = 2, 100
PEERS = ("popularity", "ease", "dp_als", "pfedrec", "pfedrec_spared")


def value(metrics: dict[str, float]) -> float:
    """What settings are chosen by, of validation metrics."""
    return metrics["hr@10"] + metrics["ndcg@10"]


def of_popularity(log: Log, options: argparse.Namespace) -> Iterator[Row]:
    """Exact counts."""
    yield {"metrics": log.metrics("test", popularity(log.train))}


def of_ease(log: Log, options: argparse.Namespace) -> Iterator[Row]:
    """At the lambda that is best on validation items."""
    at = ease(log.train)
    found = {ridge: value(log.metrics("validation", at(ridge))) for ridge in LAMBDAS}
    ridge = max(found, key=found.__getitem__)
    yield {"settings": {"lambda": ridge}, "metrics": log.metrics("test", at(ridge))}


def of_pfedrec(log: Log, options: argparse.Namespace) -> Iterator[Row]:
    """After the round that is best on validation items."""
    yield _best_round(log, log.train, options)


def of_pfedrec_spared(log: Log, options: argparse.Namespace) -> Iterator[Row]:
    """As its authors' code has it: no held-out item is drawn as a negative, which tells of them."""
    yield _best_round(log, log.everything, options)


def _best_round(log: Log, spared: csr_matrix, options: argparse.Namespace) -> Row:
    best, row, seed = -1.0, {}, options.seeds[0]
    for number, score in enumerate(pfedrec.rounds(log.train, spared, ROUNDS, seed), 1):
        if (found := value(log.metrics("validation", score))) > best:
            settings = {"round": number, "seed": seed}
            best, row = found, {"settings": settings, "metrics": log.metrics("test", score)}
    return row


def of_dp_als(log: Log, options: argparse.Namespace) -> Iterator[Row]:
    """At each epsilon, with settings chosen on others, then on its own validation items."""
    spec, users = TUNED_ON[options.spec]
    others = Log(spec, users)
    for budget in options.epsilon:
        delta = default_delta(len(log))
        guarantee = Guarantee("user", "zero_out", "central", USER_CENTRAL, delta, 1, budget)
        z = calibrate(guarantee, 1, 1.0).noise_multiplier * (1 + 1e-4)  # of one release of all

        def tuned(on: Log, z: float, start: dp_als.Settings, passes: int) -> dp_als.Settings:
            def of(tried: dp_als.Settings) -> float:
                seeds = TUNING_SEEDS if z else TUNING_SEEDS[:1]
                noises = [dp_als.Noise(z, np.random.default_rng(seed)) for seed in seeds]
                scores = [dp_als.train_items(on.train, tried, noise) for noise in noises]
                return sum(value(on.metrics("validation", score)) for score in scores)

            return dp_als.choose(of, start, passes)

        chosen = tuned(others, z * len(others) / len(log), dp_als.Settings(), PASSES)
        yield _released(log, chosen, guarantee, z, options.seeds) | {"chosen_on": others.name}
        if z:
            chosen = tuned(log, z, chosen, 1)
            yield _released(log, chosen, guarantee, z, options.seeds) | {"chosen_on": "itself"}


def _released(
    log: Log, chosen: dp_als.Settings, guarantee: Guarantee, z: float, seeds: list[int]
) -> Row:
    """Test metrics with the noise of every seed, and what the accountant makes of the releases."""
    each, spent = [], 0.0
    for seed in seeds:
        noise = dp_als.Noise(z, np.random.default_rng(seed))
        each.append(log.metrics("test", dp_als.train_items(log.train, chosen, noise)))
        spent = max(spent, epsilon(noise.events, *guarantee.counted))
    if not spent <= guarantee.budget:
        sys.exit(f"DP-ALS on {log.name} costs epsilon {spent}, above {guarantee.budget:g}")
    return {
        "epsilon_target": guarantee.budget,
        "epsilon": spent,
        "delta": guarantee.delta,
        "seeds": seeds,
        "settings": asdict(chosen),
        "metrics": {name: float(np.mean([one[name] for one in each])) for name in each[0]},
        "each": [{name: round(one[name], 4) for name in one} for one in each],
    }


def key_of(row: Row) -> tuple[Any, ...]:
    """What rows replace one another by."""
    names = ("log", "users", "peer", "epsilon_target", "chosen_on")
    return tuple(row.get(name) for name in names)


def measured(spec: str, options: argparse.Namespace) -> Iterator[Row]:
    """All rows of one log."""
    log, options.spec = Log(spec, options.users), spec
    for peer in options.peers:
        if peer == "dp_als" and spec not in TUNED_ON:
            print(f"left out: no other log to choose DP-ALS's settings for {spec} on", flush=True)
            continue
        begun = time.monotonic()
        for found in globals()[f"of_{peer}"](log, options):
            found["metrics"] = {name: round(x, 4) for name, x in found["metrics"].items()}
            row = {"log": spec, "users": len(log), "items": log.items, "peer": peer} | found
            row["command"] = " ".join(["python", "benchmarks/frontier_peers.py", *sys.argv[1:]])
            row["seconds"] = round(time.monotonic() - begun, 1)
            begun = time.monotonic()
            print(
                {name: x for name, x in row.items() if name not in ("command", "each")}, flush=True
            )
            yield row


def main() -> None:
    """Measure, and write after every row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=",".join(LOGS))
    parser.add_argument("--users", type=int, help="At most so many.")
    parser.add_argument("--epsilon", default="1,2,8,inf")
    parser.add_argument("--peers", default="popularity,ease")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results" / "frontier_peers.json"
    )
    options = parser.parse_args()
    options.epsilon = [float(each) for each in options.epsilon.split(",")]
    options.seeds = [int(each) for each in options.seeds.split(",")]
    options.peers = options.peers.split(",")
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"--peers: {', '.join(sorted(unknown))}; expected some of {', '.join(PEERS)}")
    rows: dict[tuple[Any, ...], Row] = {}
    if options.out.is_file():
        before = json.loads(options.out.read_text(encoding="utf-8"))["rows"]
        rows = {key_of(row): row for row in before}
    for spec in present(options.data.split(",")):
        for row in measured(spec, options):
            rows[key_of(row)] = row
            found = {"machine": hardware(), "versions": versions(), "rows": list(rows.values())}
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
