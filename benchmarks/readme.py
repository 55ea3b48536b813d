"""Writes the README's figures from kept results, keeps those of a run, compares a run with them.

    python benchmarks/readme.py [--check]        # README.md from benchmarks/results
    python benchmarks/readme.py --keep RUN       # the figures of a finished run of a command of it
    python benchmarks/readme.py --compare RUN    # whether such a run says what the page says

The commands are `COMMANDS`. With `--check` nothing is written, and the exit code is 1 if the page
is not what it would be; with `--compare` it is 1 if a mean of the run is outside the interval that
the page gives: the same version prints the same figures, another one draws other noise.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tables

from shared.canonical import finite
from shared.errors import DataError
from shared.run_files import RunFolder
from simulations.results import Metrics, Results
from simulations.summary import interval

PAGE = tables.ROOT / "README.md"
COMMANDS = {
    "demo": "starling simulate --preset demo --out runs/demo",
    "movielens-100k": (
        "starling simulate --preset demo --data movielens-100k --epsilon 1,8,inf --out runs/ml"
    ),
}
METRICS = {"hr@10": "HR@10", "ndcg@10": "NDCG@10", "full_hr@10": "HR@10, all items"}

Found = dict[str, Any]


def kept_file(name: str) -> Path:
    """Where the figures of a command are kept."""
    return tables.RESULTS / f"readme_{name}.json"


def kept(name: str) -> Found:
    """Those figures."""
    found: Found = json.loads(kept_file(name).read_text(encoding="utf-8"))
    return found


def name_of(results: Results) -> str:
    """Which command a run is of; a `DataError` if of none or not finished."""
    spec = results.data.get("spec")
    name = "demo" if spec == "world" else str(spec)
    if name not in COMMANDS or not results.complete:
        raise DataError(f"not a finished run of {' or of '.join(COMMANDS.values())}")
    return name


def figures(results: Results) -> Found:
    """What is kept of a run: its settings, means over seeds with intervals, what is above what."""
    points, references = results.points, results.references
    rows = [_row(name, None, [one.metrics]) for name, one in references.items()]
    for epsilon in sorted({point.target for point in points}):
        of = [point for point in points if point.target == epsilon]
        starts = [each.table("references").get("start", {}) for each in of]
        rows.append(_row("start", epsilon, [each["metrics"] for each in starts]))  # type: ignore[call-overload, index]
        rows.append(_row("federated", epsilon, [each.metrics for each in of]))
    parts = [*points, *references.values()]
    return {
        "command": COMMANDS[name_of(results)],
        "versions": results.stated["environment"],
        "minutes": sum(part.number("seconds") for part in parts) / 60,
        "data": results.data,
        "delta": points[0].number("delta"),
        "rows": rows,
        "compared": results.stated["compared"],
        "settings": results.config,
    }


def _row(name: str, epsilon: float | None, seeds: Sequence[Metrics]) -> Found:
    users = min(each["users"] for each in seeds)
    told = {}
    for metric in METRICS:
        means = [each[metric] for each in seeds]
        low, high = interval(means, [each[f"{metric}_se"] for each in seeds], users)
        told[metric] = {"mean": sum(means) / len(means), "low": low, "high": high}
    return {"name": name, "epsilon": epsilon, "seeds": len(seeds), "metrics": told}


def _number(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def _interval(one: Found) -> str:
    return f"[{_number(one['low'])}, {_number(one['high'])}]"


def movielens(found: Found) -> str:
    """The table of MovieLens-100K, beside the peers that were measured on the same split."""
    rows = {(row["name"], row["epsilon"]): row for row in found["rows"]}
    peers = {
        (row["peer"], row.get("epsilon_target"), row.get("chosen_on")): row
        for row in json.loads((tables.RESULTS / "frontier_peers.json").read_text())["rows"]
        if row["log"] == "movielens-100k"
    }
    ease = _row("", None, [peers["ease", None, None]["metrics"] | {"users": 943}])
    als = [peers["dp_als", e, "movielens-1m (943 users)"]["each"] for e in (1.0, 8.0)]
    als_1, als_8 = (_row("", None, [each | {"users": 943} for each in seeds]) for seeds in als)
    shown = [
        ("popularity (exact)", rows["popularity", None]),
        ("nothing trained, nothing released", rows["zero_shot", None]),
        ("*DP-ALS, ε = 1*", als_1),
        ("**federated, user-level ε = 1**", rows["federated", 1.0]),
        ("*DP-ALS, ε = 8*", als_8),
        ("released once at ε = 8, before any round", rows["start", 8.0]),
        ("**federated, user-level ε = 8**", rows["federated", 8.0]),
        ("*EASE, all data in one place, no privacy*", ease),
        ("the same model, federated without noise (one seed)", rows["same_model", None]),
        ("**a larger model, federated without privacy**", rows["federated", "inf"]),
    ]
    body = [[label, *(_cell(row["metrics"][name]) for name in METRICS)] for label, row in shown]
    compared = {row["epsilon_target"]: row["with"] for row in found["compared"]}
    rounds = ", ".join(
        f"{_difference(compared[epsilon]['start']['hr@10'])} HR@10 at ε = {epsilon:g}"
        for epsilon in (1.0, 8.0)
    )
    head = f"|{'|'.join(METRICS.values())}"
    return f"{tables.table(head, body)}\n\nThe rounds add to what is released once {rounds}."


def _cell(one: Found) -> str:
    return f"{_number(one['mean'])} {_interval(one)}"


def demo(found: Found) -> str:
    """What the demo's curve shows, and what it does not."""
    by = {row["epsilon_target"]: row["with"] for row in found["compared"]}
    noised = [epsilon for epsilon in by if epsilon != "inf"]
    told: dict[bool, list[str]] = {True: [], False: []}
    for epsilon in noised:
        one = by[epsilon]["popularity"]["hr@10"]
        told[one["verdict"] == "above"].append(f"{_difference(one)} at ε = {epsilon:g}")
    parts = [f"HR@10 above popularity: {', '.join(told[True]) or 'nowhere'}."]
    parts += [f"Not shown to be: {', '.join(told[False])}."] if told[False] else []
    started = [e for e in noised if by[e]["start"]["hr@10"]["verdict"] == "above"]
    where = ", ".join(f"{epsilon:g}" for epsilon in started)
    parts.append(
        f"Above its own start before training: at ε = {where}."
        if started
        else "No noised point is shown above its own start before training."
    )
    return " ".join(parts)


def _difference(one: Found) -> str:
    return f"{_number(one['difference'])} {_interval(one)}"


def speed(found: Found) -> str:
    """How much faster a cohort is trained than by others, medians and what single repeats allow."""
    (size,) = [size for size in found["sizes"] if size["size"] == "minilm"]
    by = {row["peer"]: row for row in size["rows"] if row["unit"] == "none"}
    names = {
        "sequential": "one client after the other",
        "pfl": "Apple's pfl",
        "flower": "Flower on Ray",
    }
    rate, ours = "updates_per_second", by["ours"]
    told = ", ".join(
        f"{ours[rate] / by[peer][rate]:.1f} times that of {name}" for peer, name in names.items()
    )
    least = min(ours["slowest"] / by[peer]["fastest"] for peer in names)
    most = max(ours["fastest"] / by[peer]["slowest"] for peer in names)
    return (
        f"Trained as one computation, a cohort's rate is {told} (medians of "
        f"{len({one['repeat'] for one in size['repeats']})} repeats on {found['machine']['cores']} "
        f"cores; single ones lie between {least:.1f} and {most:.1f}): "
        "[benchmarks](docs/benchmarks.md#speed-on-a-cpu)."
    )


def page_of(text: str) -> str:
    """The README with all its figures written anew."""
    parts = {
        "demo": demo(kept("demo")),
        "movielens": movielens(kept("movielens-100k")),
        "speed": speed(json.loads((tables.RESULTS / "speed_cpu.json").read_text())),
    }
    for name, part in parts.items():
        before, found, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not (found and end):
            raise DataError(f"README.md: no place for {name}")
        text = f"{before}{found}{part}\n{end}{after}"
    return text


def apart(found: Found, results: Results) -> list[str]:
    """Where the mean of a run is outside the kept interval, and what is in one of both alone."""
    then = {(row["name"], row["epsilon"]): row["metrics"] for row in found["rows"]}
    fresh = finite(figures(results))
    now = {(row["name"], row["epsilon"]): row["metrics"] for row in fresh["rows"]}
    told = [f"{name} at {epsilon}: in one of them alone" for name, epsilon in then.keys() ^ now]
    for key in then.keys() & now:
        for metric, one in then[key].items():
            mean = now[key][metric]["mean"]
            if not one["low"] <= mean <= one["high"] or math.isnan(mean):
                told.append(f"{key[0]} at {key[1]}: {metric} {mean:.4f}, kept {_interval(one)}")
    return told


def main() -> None:
    """Write, check, keep or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="RUN")
    parser.add_argument("--compare", type=Path, metavar="RUN")
    chosen = parser.parse_args()
    if chosen.compare:
        results = Results.read(RunFolder(chosen.compare).results)
        sys.exit("\n".join(apart(kept(name_of(results)), results)) or 0)
    if chosen.keep:
        results = Results.read(RunFolder(chosen.keep).results)
        told = json.dumps(finite(figures(results)), indent=1)
        kept_file(name_of(results)).write_text(told + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    wanted = page_of(text)
    if chosen.check and wanted != text:
        sys.exit("README.md: not what the results say; run benchmarks/readme.py")
    PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
