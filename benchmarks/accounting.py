"""Three accountants side by side, and exact figures where there are some: docs/accounting.md.

    python benchmarks/accounting.py [--check | --page]

Recomputes everything (minutes) into benchmarks/results/accounting.json and writes the page from it.
With `--check` nothing is computed: the exit code is 1 if the page is not what the results say.
With `--page` the page alone is written anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dp_accounting import GaussianDpEvent

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from shared.privacy.accounting.accountant import epsilon, epsilon_prv, epsilon_rdp  # noqa: E402 (needs the path above)
from shared.privacy.accounting.calculator import Rounds  # noqa: E402 (needs the path above)
from shared.privacy.accounting.events import SkellamDpEvent  # noqa: E402 (needs the path above)
from tests.support.oracles import gaussian_epsilon, skellam_epsilon  # noqa: E402 (needs the path above)

PAGE = ROOT / "docs" / "accounting.md"
RESULTS = ROOT / "benchmarks" / "results" / "accounting.json"

Row = dict[str, Any]

# Rounds and delta by sampling probability, a usual plan and a long one.
PLANS = {
    1.0: ((1, 1e-5), (40, 1e-4)),
    0.5: ((10, 1e-3), (100, 1e-6)),
    0.1: ((40, 1e-4), (400, 1e-8)),
    0.01: ((100, 1e-5), (2000, 1e-6)),
    0.001: ((1000, 1e-5), (10_000, 1e-7)),
}
NOISE = (0.5, 0.8, 1.2, 3.0, 10.0)
GRID = [
    (z, q, rounds, delta) for q, plans in PLANS.items() for z in NOISE for rounds, delta in plans
]
REPLACED = [(20.0, 1, 1e-5), (8.0, 3, 1e-4), (3.4, 40, 1e-4), (2.0, 1, 1e-7), (1.0, 1, 1e-3)]
SKELLAM = [
    (100.0, (5,), 1e-5),
    (100.0, (20,), 1e-5),
    (2000.0, (20,), 1e-5),
    (2000.0, (20,), 1e-7),
    (60.0, (4, 2), 1e-5),
    (400.0, (10, 6), 1e-4),
]


def pld_error(spent: float) -> float:
    """By how much PLD may be too high: what `shared.privacy.accounting.accountant` states."""
    return 1e-4 + 1e-4 * spent


def of_grid(z: float, q: float, rounds: int, delta: float) -> Row:
    """One configuration by the three accountants, add/remove."""
    plan = Rounds(z, rounds, q)
    history = plan.history()
    # Opacus states its upper end: 0.01 above an estimate that is itself 0.01 off, with the tail of
    # delta off by 1 in 1000 at both ends. So it may be as high as this.
    highest = plan.epsilon(delta * (1 - 2e-3)) + 0.02
    return {
        "noise_multiplier": z,
        "sampling_probability": q,
        "rounds": rounds,
        "delta": delta,
        "pld": plan.epsilon(delta),
        "rdp": epsilon_rdp(history, delta),
        "prv": epsilon_prv(history, delta),
        "prv_at_most": highest,
    }


def agrees(row: Row) -> bool:
    """PLD at most RDP, and PRV between PLD less its error and its own upper end."""
    pld = row["pld"]
    within = row["prv"] is not None and pld - pld_error(pld) <= row["prv"] <= row["prv_at_most"]
    return bool(pld <= row["rdp"] + 1e-9 and within)


def of_replaced(z: float, releases: int, delta: float) -> Row:
    """Everyone takes part, one unit replaced: against the integrated hockey stick at 2 C."""
    history = [(GaussianDpEvent(z), releases)]
    return {
        "noise_multiplier": z,
        "releases": releases,
        "delta": delta,
        "pld": epsilon(history, delta, "replace_one"),
        "exact": gaussian_epsilon(z, releases, delta, distance=2.0),
    }


def of_skellam(variance: float, shifts: tuple[int, ...], delta: float) -> Row:
    """One release of whole numbers: the bound against the sum over all outcomes."""
    l2 = sum(shift**2 for shift in shifts) ** 0.5
    event = SkellamDpEvent(variance, l2, float(sum(shifts)))
    exact = skellam_epsilon(variance, shifts, delta)
    found = {"variance": variance, "moved_by": list(shifts), "delta": delta}
    return found | {"rdp": epsilon(event, delta), "exact": exact}


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    names = head.split("|")
    lines = [names, ["---:"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page_of(found: Row) -> str:
    """The whole page."""
    grid, apart = found["grid"], [abs(row["pld"] - row["prv"]) for row in found["grid"]]
    good = sum(agrees(row) for row in grid)
    return PROSE.format(
        good=good,
        configurations=len(grid),
        apart=max(apart),
        grid=table("z|q|rounds|delta|PLD|RDP|PRV|PRV at most|PLD - PRV", map(_grid_cells, grid)),
        replaced=table(
            "z|releases|delta|PLD|exact|too high by", map(_replaced_cells, found["replaced"])
        ),
        skellam=table(
            "variance|moved by|delta|counted|exact|too high by",
            map(_skellam_cells, found["skellam"]),
        ),
    )


def _grid_cells(row: Row) -> list[str]:
    plan = ("noise_multiplier", "sampling_probability", "rounds", "delta")
    spent = ("pld", "rdp", "prv", "prv_at_most")
    cells = [f"{row[name]:g}" for name in plan] + [f"{row[name]:.4f}" for name in spent]
    return [*cells, f"{row['pld'] - row['prv']:+.4f}"]


def _replaced_cells(row: Row) -> list[str]:
    plan = [f"{row[name]:g}" for name in ("noise_multiplier", "releases", "delta")]
    return [*plan, f"{row['pld']:.6f}", f"{row['exact']:.6f}", f"{row['pld'] - row['exact']:.1e}"]


def _skellam_cells(row: Row) -> list[str]:
    plan = [f"{row['variance']:g}", ", ".join(map(str, row["moved_by"])), f"{row['delta']:g}"]
    excess = f"{row['rdp'] / row['exact'] - 1:.1%}"
    return [*plan, f"{row['rdp']:.4f}", f"{row['exact']:.4f}", excess]


PROSE = """# Accountants compared

Generated by `python benchmarks/accounting.py`; do not edit. What is counted, and why by these, is \
in [ADR 3](adr/0003-accounting.md) and [ADR 13](adr/0013-accounting.md). `starling account` asks \
the same accountants about any number of equal rounds, Poisson-sampled or with everyone, and \
nothing beside them: what a run's histogram or metrics take of its budget is not in it.

## Poisson-sampled Gaussian, zero-out

{configurations} plans of equal rounds, from one release to everyone to 10,000 of a thousandth. \
**PLD** (Google) is what counts: an upper bound, stated to be too high by less than 1e-4 + 1e-4 \
epsilon. **RDP** (Google) is derived independently and never tighter. **PRV** (Opacus) gives the \
upper end of its own interval, which lies above the exact value by at most 0.02 and what 2 in \
1000 of delta make: the column "PRV at most" is PLD at that delta plus 0.02. In {good} of \
{configurations}, PLD is at most RDP and PRV lies between PLD less PLD's error and that column; \
the largest difference of PLD and PRV is {apart:.4f}.

{grid}

## One unit replaced, everyone taking part

PLD under `replace_one` against the hockey stick of two Gaussians 2 C apart, integrated \
numerically from its definition (`tests/support/oracles.py`).

{replaced}

## Skellam noise

The bound of [Agarwal, Kairouz and Liu 2021](https://arxiv.org/abs/2110.04995) on Rényi \
divergence, turned into epsilon, against the sum over all outcomes of the two distributions. Most \
of the excess is that of Rényi's way to epsilon; a Gaussian's is alike.

{skellam}
"""


def compute() -> Row:
    """Everything, minutes on a shared core."""
    began = time.time()
    found: Row = {
        "command": "python benchmarks/accounting.py",
        "grid": [of_grid(*at) for at in GRID],
        "replaced": [of_replaced(*at) for at in REPLACED],
        "skellam": [of_skellam(*at) for at in SKELLAM],
    }
    return found | {"seconds": round(time.time() - began, 1)}


def main() -> None:
    """Compute and write, or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--page", action="store_true")
    chosen = parser.parse_args()
    if not chosen.check and not chosen.page:
        RESULTS.write_text(json.dumps(compute(), indent=1) + "\n", encoding="utf-8")
    wanted = page_of(json.loads(RESULTS.read_text(encoding="utf-8")))
    if not chosen.check:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != PAGE.read_text(encoding="utf-8"):
        sys.exit("docs/accounting.md: not what the results say; run benchmarks/accounting.py")


if __name__ == "__main__":
    main()
