"""Our bounds on epsilon beside reference implementations, on the same scores.

    .bench-venv/bin/python benchmarks/audit_peers.py [--out benchmarks/results/audit_peers.json]

Scores of 300 canaries under a Gaussian mechanism at (epsilon, 1e-5), 20 seeds. First the same
counts: so many guesses, so many right, at one confidence: `jax_privacy` computes the same bounds,
so they must be equal. Then each as it is used: ours guesses about four fixed shares of the
canaries, in and out; theirs about those above every threshold, as in (Bonferroni); opake's about
all, with another bound (Xiang et al. 2025), at a threshold that it picks on the same scores.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from machine import hardware, versions
from opake import auditing as opake_auditing
from opake.auditing.types import CoinFlip
from scipy.optimize import brentq
from tables import table

from simulations.audit import evidence

CANARIES, DELTA, SEEDS, CONFIDENCE = 300, 1e-5, 20, 0.95
EPSILONS = (1.0, 4.0, 8.0, 16.0)
RISK = 1 - CONFIDENCE

# Its package imports JAX, which this part does without.
_SPEC = importlib.util.find_spec("jax_privacy")
_FILE = Path(str(_SPEC and _SPEC.origin)).parent / "auditing.py"
_MODULE = importlib.util.spec_from_file_location("jax_privacy_auditing", _FILE)
if _MODULE is None or _MODULE.loader is None:
    raise SystemExit("jax_privacy: is not installed; see docs/benchmarks.md")
jax_auditing = importlib.util.module_from_spec(_MODULE)
sys.modules[_MODULE.name] = jax_auditing
_MODULE.loader.exec_module(jax_auditing)

Scores = npt.NDArray[np.float64]
Bits = npt.NDArray[np.bool_]


def drawn(epsilon: float, seed: int) -> tuple[Scores, Bits]:
    """Scores and who is in."""
    shift = brentq(lambda apart: evidence.gaussian_delta(epsilon, apart) - DELTA, 1e-9, 50)
    random = np.random.default_rng(seed)
    bits = random.random(CANARIES) < 0.5
    return shift * bits + random.normal(size=CANARIES), bits


def _jax(name: str) -> Callable[[Scores, Bits], float]:
    def bound(scores: Scores, bits: Bits) -> float:
        auditor = jax_auditing.CanaryScoreAuditor(scores[bits], scores[~bits])
        return float(getattr(auditor, name)(RISK, DELTA))

    return bound


def _opake(name: str) -> Callable[[Scores, Bits], float]:
    def bound(scores: Scores, bits: Bits) -> float:
        there = np.arange(len(bits))
        flips = CoinFlip(len(bits), there, there[bits], there[~bits], bits)
        named = opake_auditing.canary_scores(scores, canary_indices=there)
        method = getattr(opake_auditing.one_run(named, coin_flip=flips), name)()
        return float(method.epsilon_at(delta=DELTA, significance=RISK))

    return bound


USED: dict[str, Callable[[Scores, Bits], float]] = {
    "ours, any mechanism": lambda s, b: evidence.best(s, b, DELTA, CONFIDENCE),
    "jax_privacy, epsilon_one_run": _jax("epsilon_one_run"),
    "opake, eps_delta": _opake("eps_delta"),
    "ours, Gaussian": lambda s, b: evidence.best(
        s, b, DELTA, CONFIDENCE, evidence.gaussian_one_run
    ),
    "jax_privacy, epsilon_one_run_fdp": _jax("epsilon_one_run_fdp"),
    "opake, gdp": _opake("gdp"),
}


def same_counts() -> dict[str, float]:
    """The largest differences from jax_privacy's, over counts of every size."""
    random, apart = np.random.default_rng(0), {"any mechanism": 0.0, "Gaussian": 0.0}
    for _ in range(200):
        canaries = int(random.integers(20, 2000))
        guesses = int(random.integers(10, canaries + 1))
        right = int(random.binomial(guesses, random.uniform(0.5, 1.0)))
        counts = (canaries, guesses, right, RISK, DELTA)
        ours = (right, guesses, canaries, DELTA, CONFIDENCE)
        theirs = jax_auditing._epsilon_one_run(0.0, *counts)
        gaussian = jax_auditing._epsilon_one_run_fdp(0.0, *counts)
        pairs = {
            "any mechanism": abs(evidence.one_run(*ours) - theirs),
            "Gaussian": abs(evidence.gaussian_one_run(*ours) - gaussian),
        }
        apart = {name: max(apart[name], float(by)) for name, by in pairs.items()}
    return apart


def used() -> dict[str, dict[str, list[float]]]:
    """Every bound of every seed, by epsilon and name; and what one takes, in milliseconds."""
    found: dict[str, dict[str, list[float]]] = {}
    for epsilon in EPSILONS:
        scores = [drawn(epsilon, seed) for seed in range(SEEDS)]
        found[f"{epsilon:g}"] = {name: [f(*of) for of in scores] for name, f in USED.items()}
    found["milliseconds"] = {}
    for name, bound in USED.items():
        begun = time.perf_counter()
        bound(*drawn(8.0, 0))
        found["milliseconds"][name] = [1e3 * (time.perf_counter() - begun)]
    return found


def main() -> None:
    """Print the tables, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    apart, found = same_counts(), used()
    print(f"largest difference on 200 same counts: {apart}\n")
    rows = [
        [
            name,
            *(_told(found[f"{epsilon:g}"][name], epsilon) for epsilon in EPSILONS),
            f"{found['milliseconds'][name][0]:.0f}",
        ]
        for name in USED
    ]
    heads = [f"epsilon {epsilon:g}" for epsilon in EPSILONS]
    print(table("|".join(["bound", *heads, "ms"]), rows))
    if out:
        peers = {of: importlib.metadata.version(of) for of in ("jax-privacy", "opake-auditing")}
        told = {"hardware": hardware(), "versions": {**versions(), **peers}}
        out.write_text(json.dumps({**told, "apart": apart, "used": found}, indent=1) + "\n")


def _told(bounds: list[float], epsilon: float) -> str:
    above = sum(bound > epsilon for bound in bounds)
    return f"{np.median(bounds):.2f}" + (f" ({above} above)" if above else "")


if __name__ == "__main__":
    main()
