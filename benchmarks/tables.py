"""Writes the tables of docs/benchmarks.md from the results, so that they cannot differ.

    python benchmarks/tables.py [--check]

Each table stands between `<!-- NAME -->` and `<!-- end -->`. With `--check` nothing is written, and
the exit code is 1 if the page is not what it would be.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "benchmarks" / "results"
_UNMEASURED = "Not measured yet."
_PLACE = re.compile(r"<!-- (\w+) -->\n.*?<!-- end -->", re.DOTALL)

Found = dict[str, Any]


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    names = head.split("|")
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mebibytes(size: float) -> str:
    """Of bytes."""
    return f"{size / 2**20:,.0f}"


def about(found: Found) -> str:
    """Where and when idle, in one line."""
    machine, versions = found["machine"], found["versions"]
    where = machine.get("gpu") or f"{machine['processor']}, {machine['cores']} cores"
    return (
        f"`{found['command'].strip()}` on {where}; {found['threads']} threads, load "
        f"{found['load']:.1f} before; torch {versions['torch']}, Python {versions['python']}."
    )


def speed(found: Found) -> str:
    """One table a size, and what was skipped."""
    parts = [about(found)]
    for size in found["sizes"]:
        by = {(row["peer"], row["unit"]): row["updates_per_second"] for row in size["rows"]}
        work = size["work"]
        parts.append(
            f"**{size['size']}**, {size['data']}: a cohort is {work['users']} clients, "
            f"{work['windows']} windows, {work['positions']:,} targets "
            f"({work['padded_positions']:,} positions when padded)."
            + (f" Here {size['stands_in']}." if size["stands_in"] else "")
        )
        head = "peer|unit|updates/s (least to most)|ours is|with start-up|start-up, s|"
        rows = (_speed_row(row, by) for row in size["rows"])
        parts.append(table(head + "peak MiB|apart from ours", rows))
        parts += [f"Skipped {line.replace('skipped: ', '')}." for line in size["skipped"]]
        if size["targets"]:
            parts.append(table("target|found|wanted|", map(_target, size["targets"])))
    return "\n\n".join(parts)


def _speed_row(row: Found, by: dict[tuple[str, str], float]) -> list[str]:
    rate, ours = row["updates_per_second"], by.get(("ours", row["unit"]))
    return [
        row["peer"],
        row["unit"],
        f"{rate:.1f} ({row['slowest']:.1f} to {row['fastest']:.1f})",
        f"{ours / rate:.2f}x" if ours and row["peer"] != "ours" else "",
        f"{row['with_startup']:.1f}" if "with_startup" in row else "",
        f"{row['startup_seconds']:.1f}" if "startup_seconds" in row else "",
        mebibytes(row["peak_bytes"]),
        f"{row['apart']:.0e}" if row["apart"] else "",
    ]


def _target(goal: Found) -> list[str]:
    met = "met" if goal["met"] else "**missed**"
    return [goal["name"], f"{goal['value']:.2f}", goal["target"], met]


def roofline(found: Found) -> str:
    """Operations, peaks, fractions, profile."""
    work = found["work"]
    shares = ", ".join(
        f"{p['name']} {p['share']:.0%}" for p in found["products"] if p["share"] > 0.005
    )
    peaks = [
        [
            f"{row['inner']} x {row['columns']}",
            row["dtype"],
            str(row["threads"]),
            f"{row['gflops']:,.0f}",
        ]
        for row in found["peaks"]
    ]
    rates = [
        [
            row["peer"],
            row["dtype"],
            f"{row['updates_per_second']:.1f}",
            f"{row['gflops']:,.0f}",
            f"{row['fraction_of_peak']:.0%}",
        ]
        for row in found["rates"]
    ]
    spent = [[row["kind"], f"{row['share']:.1%}"] for row in found["profile"]]
    return "\n\n".join(
        [
            about(found),
            f"The work of {work['users']} updates is {work['gflop']:.1f} GFLOP, "
            f"{1000 * work['gflop'] / work['users']:.0f} MFLOP an update: {shares}.",
            table("peer|type|updates/s|GFLOP/s of the work|of the measured peak", rates),
            "Measured peaks, the best of many products of that shape:",
            table("product|type|threads|GFLOP/s", peaks),
            "Where the cohort engine spends its time, float32:",
            table("kind|share", spent),
        ]
    )


def population(found: Found) -> str:
    """Memory and time against the number of users."""
    runs = found["runs"]
    first = runs[0]["users"]
    sizes = sorted({run["users"] for run in runs})
    least = {n: min(r["cpu_seconds"] for r in runs if r["users"] == n) for n in sizes}
    most = {n: max(r["peak_bytes"] for r in runs if r["users"] == n) for n in sizes}
    rows = [
        [
            f"{n:,}",
            f"{mebibytes(most[n])} ({most[n] / most[first]:.2f}x)",
            f"{least[n]:.1f} ({least[n] / least[first]:.2f}x)",
        ]
        for n in sizes
    ]
    machine = found["environment"]
    line = f"`{found['command'].strip()}`; {machine['cpus']} cores, {machine['threads']} threads."
    return f"{line}\n\n" + table("users|peak MiB|CPU seconds", rows)


def precision(found: Found) -> str:
    """Accuracy of float32 and bf16 side by side."""
    rows = [
        [
            str(row["epsilon"]),
            row["dtype"],
            f"{row['hr@10']:.3f} / {row['ndcg@10']:.3f}",
            f"{row['full_hr@10']:.3f} / {row['full_ndcg@10']:.3f}",
        ]
        for row in found["rows"]
    ]
    head = "epsilon|backbone computes in|test HR@10 / NDCG@10|full ranking"
    return f"`{found['command'].strip()}`\n\n{table(head, rows)}"


def workers(found: Found) -> str:
    """One sweep in one process and over workers: seconds, and whether it is the same."""
    rows = []
    for row in found["rows"]:
        same = next((v for k, v in row.items() if k.startswith("apart_from_1_")), None)
        rows.append(
            [
                f"{row['workers']} worker(s)" if row["workers"] else "in process",
                f"{row['start_seconds']:.0f}",
                f"{row['work_seconds']:.0f}",
                f"{row['speed_to_one_process']:.2f}x",
                f"{row['apart_from_one_process']:.1e}",
                "" if same is None else f"{same:.1e}",
            ]
        )
    head = "where|start, s|work, s|speed|adapters from one process|from one worker"
    cores = f"{found['cpus']} cores, one thread a process, load {found['load_before']:.1f} before."
    settings = " ".join(found["options"])
    return f"`starling simulate {settings}`; {cores}\n\n{table(head, rows)}"


def parity(found: Found) -> str:
    """What `gpu.py` checked, and its speeds."""
    failed = [check for check in found["checks"] if not check["passed"]]
    checks = [
        [c["shape"], c["check"], f"{c['value']:.1e}", f"{c['limit']:.0e}"] for c in found["checks"]
    ]
    rows = [
        [
            row["shape"],
            row["weights"],
            row["dtype"],
            "recomputed" if row["checkpointing"] else "kept",
            f"{row['clients_per_second']:.1f}",
            f"{row['peak_mib']:,.0f}",
        ]
        for row in found["measured"]
    ]
    machine = found["machine"]
    return "\n\n".join(
        [
            f"`{found['command']}` on {machine['name']}, torch {machine['torch']}: "
            f"{len(found['checks'])} checks, {len(failed)} failed.",
            table("shape|check|apart|at most", checks),
            table("shape|weights|type|activations|clients/s|peak MiB", rows),
        ]
    )


def rules(found: Found) -> str:
    """Every aggregation rule, with and without noise."""
    told = found["settings"]
    more = "".join(f" --set {change}" for change in told["set"])
    command = f"python benchmarks/rules.py --data {told['data']} --preset {told['preset']}{more}"
    head = "rule|epsilon|seeds|HR@10|NDCG@10|full HR@10|upload, KiB|all uploads, MiB|HR@10 - fedit"
    lines = table(
        head,
        (
            (
                f"`{row['rule']}`",
                f"{row['epsilon_target']}",
                str(len(row["seeds"])),
                *(f"{row[metric]:.3f}" for metric in ("hr@10", "ndcg@10", "full_hr@10")),
                f"{row['upload_bytes'] / 1024:,.1f}",
                mebibytes(row["bytes_up"]),
                _beside_fedit(row.get("versus_fedit")),
            )
            for row in found["rows"]
        ),
    )
    return f"`{command}`\n\n{lines}"


def _beside_fedit(found: Found | None) -> str:
    if found is None:
        return ""
    low, high = found["interval"]
    return f"{found['hr@10']:+.3f} [{low:+.3f}, {high:+.3f}]"


def logs(found: Found) -> str:
    """Every log: what its points reach, and what they are not shown to be above."""
    machine, versions = found["machine"], found["versions"]
    where = machine.get("gpu") or f"{machine['processor']}, {machine['cores']} cores"
    names = {
        "popularity": "popularity",
        "zero_shot": "untrained",
        "eps 8.0": "eps 8",
        "eps inf": "inf",
        "same_model": "same model, no noise",
        "centralized": "centralised",
    }
    done = [row for row in found["rows"] if "metrics" in row]
    commands = "; ".join(f"`{each.strip()}`" for each in found["command"].split("; "))
    rows = [
        [
            row["log"],
            f"{row['data']['users']:,}",
            *(_both(row["metrics"].get(name)) for name in names),
            *(_not_above(row["verdicts"][point]) for point in ("eps 8.0", "eps inf")),
        ]
        for row in done
    ]
    head = f"log|people|{'|'.join(names.values())}|eps 8 is not shown above|inf is not shown above"
    parts = [
        f"{commands} on {where}; torch {versions['torch']}, Python {versions['python']}."
        " HR@10 among the negatives / over all items.",
        table(head, rows),
    ]
    parts += [f"`{row['command']}`: {row['refused']}" for row in found["rows"] if "refused" in row]
    return "\n\n".join(parts)


def _both(metrics: Found | None) -> str:
    return f"{metrics['hr@10']:.3f} / {metrics['full_hr@10']:.3f}" if metrics else ""


def _not_above(verdicts: dict[str, dict[str, str]]) -> str:
    """References by name, those that a point is below in bold, with the metrics in question."""
    short = {"hr@10": "HR", "ndcg@10": "NDCG", "full_hr@10": "HR all", "full_ndcg@10": "NDCG all"}
    names = {
        "popularity": "popularity",
        "zero_shot": "untrained",
        "start": "own start",
        "popularity_private": "own histogram",
    }
    told = []
    for name, label in names.items():
        for verdict, mark in (("below", "**"), ("not shown", "")):
            each = verdicts.get(name, {}).items()
            of = [short[metric] for metric, found in each if found == verdict]
            told += [f"{mark}{label}{mark} ({', '.join(of)})"] if of else []
    return "; ".join(told)


def frontier_peers(found: Found) -> str:
    """Anchors and private ALS, log by log."""
    machine, versions = found["machine"], found["versions"]
    where = f"{machine['processor']}, {machine['cores']} cores"
    logs = [row["log"] for row in found["rows"]]
    rows = [
        [
            row["log"],
            f"{row['users']:,}",
            _peer(row),
            *(
                f"{row['metrics'][name]:.3f} ({row['metrics'][f'{name}_se']:.3f})"
                for name in ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10")
            ),
        ]
        for row in sorted(found["rows"], key=lambda row: logs.index(row["log"]))
    ]
    commands = "; ".join(f"`{each}`" for each in dict.fromkeys(r["command"] for r in found["rows"]))
    head = "log|people|peer|HR@10|NDCG@10|HR@10, all items|NDCG@10, all items"
    told = f"On {where}, one thread; numpy {versions['numpy']}, Python {versions['python']}."
    return f"{told} {commands}.\n\n{table(head, rows)}"


def _peer(row: Found) -> str:
    """What it is, and under which promise."""
    if row["peer"] == "ease":
        return f"EASE, lambda {row['settings']['lambda']:g}"
    if row["peer"].startswith("pfedrec"):
        leak = ", held-out items spared as negatives" * (row["peer"] == "pfedrec_spared")
        return f"PFedRec, round {row['settings']['round']}{leak}"
    if row["peer"] != "dp_als":
        return str(row["peer"])
    promise = f"eps {row['epsilon_target']:g}"
    if row["epsilon"] != math.inf:
        promise += f" (spent {row['epsilon']:.3f}, delta {row['delta']:g})"
    return f"DP-ALS, {promise}, settings from {row['chosen_on']}"


TABLES: dict[str, Callable[[Found], str]] = {
    "speed_cpu": speed,
    "speed_gpu": speed,
    "gpu": parity,
    "roofline_cpu": roofline,
    "roofline_gpu_minilm": roofline,
    "roofline_gpu_qwen": roofline,
    "population": population,
    "precision": precision,
    "workers": workers,
    "rules_ml100k": rules,
    "logs": logs,
    "frontier_peers": frontier_peers,
}


def text_of(name: str, results: Path = RESULTS) -> str:
    """One table, or that it was not measured."""
    file = results / f"{name}.json"
    if not file.is_file():
        return _UNMEASURED
    return TABLES[name](json.loads(file.read_text(encoding="utf-8")))


def page_of(text: str, results: Path = RESULTS) -> str:
    """The page with all its tables written anew."""

    def anew(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"<!-- {name} -->\n{text_of(name, results)}\n<!-- end -->"

    return _PLACE.sub(anew, text)


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    wanted = page_of(text)
    if chosen.check:
        if wanted != text:
            sys.exit("docs/benchmarks.md: not what the results say; run benchmarks/tables.py")
        return
    PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
