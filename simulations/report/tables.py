"""Results as rows of text: what the page's tables show. No markup; the template escapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from shared.printable import printable
from shared.privacy.accounting.meaning import Meaning, most_found
from shared.privacy.sentences import FALSE_ALARM, at_most
from simulations.report.figures import reference_style
from simulations.results import Claim, Point, Results, Tree
from simulations.summary import Interval, interval_of, summarise

Row = dict[str, Any]

METRIC_LABELS = {
    "hr@10": "HR@10",
    "ndcg@10": "NDCG@10",
    "full_hr@10": "HR@10, all items",
    "full_ndcg@10": "NDCG@10, all items",
}
MISSING = "\N{EN DASH}"
LEVELS = {"user": "user-level", "example": "example-level (one window, not a person)"}


def number(value: Any, digits: int = 4) -> str:
    """A number in few digits, `∞` for infinity, a dash where there is none."""
    if value is None:
        return MISSING
    try:
        real = float(value)
    except (TypeError, ValueError):
        return str(value)
    if math.isnan(real):
        return MISSING
    if math.isinf(real):
        return "∞" if real > 0 else "-∞"
    if real == int(real) and abs(real) < 1e15:
        return f"{int(real):,}"
    return f"{real:.{digits}g}"


def size(count: Any) -> str:
    """Bytes in decimal units."""
    if count is None:
        return MISSING
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def distinct(claims: Iterable[Claim], key: str) -> list[str]:
    """The different values of a key over all claims, in order of appearance."""
    values = (claim.get(key) for claim in claims)
    return list(dict.fromkeys(number(value) for value in values if value is not None))


def scope(results: Results) -> str:
    """One sentence: data, and for whom the budget holds."""
    data = results.data
    parts = [f"Data {printable(data.get('name') or data.get('spec') or 'not named')}"]
    if data.get("users"):
        parts.append(f"{number(data['users'])} users")
    promises = list(dict.fromkeys(_promise(claim) for claim in results.private_claims))
    parts += ["; and beside it ".join(promises)] if any(promises) else []
    return ", ".join(parts) + "."


def _promise(claim: Claim) -> str:
    labels = (
        ("unit", "privacy unit: {}"),
        ("relation", "neighbours: {}"),
        ("delta", "δ = {}"),
        ("trust", "trust model: {}"),
    )
    stated = ((label, claim.get(key)) for key, label in labels)
    return ", ".join(label.format(number(value)) for label, value in stated if value is not None)


def level(unit: str) -> str:
    """What an epsilon of this unit must be called; an unknown unit as it stands."""
    return LEVELS.get(unit, f"unit {unit}")


def levels(claims: Iterable[Claim]) -> list[tuple[str, str]]:
    """Unit and trust of each claim that is private; empty without privacy."""
    pairs = [
        (str(claim.get("unit", "not stated")), str(claim.get("trust", "not stated")))
        for claim in claims
        if claim.private
    ]
    return list(dict.fromkeys(pairs))


def axis_label(results: Results) -> str:
    """What the budget of the curve's horizontal axis is, and of whom: that of the points' own."""
    found = [f"{level(unit)}, {trust} trust" for unit, trust in levels(results.points)]
    return f"privacy budget ε, {' and '.join(found)}" if found else "privacy budget ε"


def example_epsilons(results: Results) -> dict[float, float]:
    """By the points' own target, the largest example-level epsilon stated beside it."""
    found: dict[float, float] = {}
    for point in results.points:
        for inner in point.claims[1:]:
            found[point.target] = max(found.get(point.target, 0.0), inner.epsilon)
    return found


def accuracy_rows(results: Results) -> list[Row]:
    """One row per target epsilon: metrics with intervals, and over what these are."""
    return [
        {
            "epsilon": number(entry.epsilon_target),
            "private": math.isfinite(entry.epsilon_target),
            "seeds": len(entry.seeds),
            "interval": f"over {entry.interval}",
            "metrics": {name: _cell(entry.metrics.get(name)) for name in METRIC_LABELS},
        }
        for entry in summarise(results.points)
    ]


def reference_rows(results: Results) -> list[Row]:
    """One row per reference point, with intervals over users where they are known."""
    rows = []
    for name, reference in results.references.items():
        values = reference.metrics
        found = {metric: interval_of(values, metric) for metric in METRIC_LABELS}
        rows.append(
            {
                "name": reference_style(name).label,
                "metrics": {
                    metric: cell(values.get(metric), *(ends or (None, None)))
                    for metric, ends in found.items()
                },
                "interval": "over users" if any(found.values()) else MISSING,
            }
        )
    return rows


def privacy_rows(results: Results) -> list[Row]:
    """One row per guarantee of a point: unit, budget, what it bounds, and the mechanism."""
    rows: list[Row] = []
    for claim in _claims(results):
        epsilon, target, private = claim.epsilon, claim.target, claim.private
        told, rounds = claim.meaning, claim.get("updates") != 0  # else nothing is of any
        rows.append(
            {
                "target": number(target),
                "seed": number(claim.get("seed")),
                "pld": at_most(epsilon, 4) if private else "∞",
                "rdp": number(claim.get("epsilon_rdp")),
                "prv": number(claim.get("epsilon_prv")),
                "delta": number(claim.get("delta")) if private else MISSING,
                "unit": number(claim.get("unit")) if private else MISSING,
                "trust": number(claim.get("trust")) if private else MISSING,
                "exceeds": MISSING if told is None else number(told.exceeds, 3),
                "groups": _groups(told),
                "bound": _found(epsilon, told) if private else "all",
                "seen": _seen(told),
                "noise": number(claim.get("noise_multiplier")) if rounds else MISSING,
                "histogram_noise": number(claim.get("histogram_noise_multiplier")),
                "moments_noise": number(claim.get("moments_noise_multiplier")),
                "rounds": number(claim.get("rounds")),
                "sampling": number(claim.get("sampling_probability")) if rounds else MISSING,
                "cohort": number(claim.get("cohort")) if rounds else MISSING,
                "clip": number(claim.get("clipping_norm")) if rounds else MISSING,
                "over": epsilon > target * (1 + 1e-6),
            }
        )
    return rows


def _groups(told: Meaning | None) -> str:
    """Epsilon of groups, such as `2: 19.8, 4: 53.7`."""
    if told is None:
        return MISSING
    return ", ".join(f"{size}: {at_most(value)}" for size, value in told.groups.items())


def _found(epsilon: float, told: Meaning | None) -> str:
    share = most_found(epsilon, 0.0 if told is None else told.delta, FALSE_ALARM)
    return f"{at_most(100 * share, 4)}%"


def _seen(told: Meaning | None) -> list[str]:
    """Against someone who knows the sums a unit was in: how many, epsilon and the most found."""
    if told is None:
        return []
    return [
        f"in {one.sums} sums: {at_most(one.epsilon)}, {_found(one.epsilon, told)}"
        for one in told.seen
    ]


def cost_rows(results: Results) -> list[Row]:
    """One row per point: bytes moved, trained parameters, time."""
    rows: list[Row] = []
    for point in ordered(results):
        moved = point.table("communication_bytes")
        rows.append(
            {
                "target": number(point.target),
                "seed": number(point.get("seed")),
                "up": size(moved.get("up")),
                "down": size(moved.get("down")),
                "parameters": number(point.get("trained_parameters")),
                "seconds": number(point.get("seconds"), 3),
            }
        )
    return rows


def ledger_rows(results: Results) -> list[Row]:
    """One row per guarantee: the ledger it is computed from, and its head."""
    rows: list[Row] = []
    for claim in _claims(results):
        ledger = claim.ledger
        rows.append(
            {
                "target": number(claim.target),
                "seed": number(claim.get("seed")),
                "file": ledger.get("file", MISSING),
                "entries": number(ledger.get("entries")),
                "head": ledger.get("head", MISSING),
            }
        )
    return rows


def noise_rows(results: Results) -> list[Row]:
    """One row per point whose history holds noise and signal: medians over rounds."""
    rows: list[Row] = []
    for point in ordered(results):
        signal, noise = series(point, "signal_norm"), series(point, "noise_norm")
        if not (signal and noise):
            continue
        ratio = float(np.median(noise) / np.median(signal)) if np.median(signal) > 0 else math.inf
        rows.append(
            {
                "target": number(point.target),
                "seed": number(point.get("seed")),
                "signal": number(float(np.median(signal)), 3),
                "noise": number(float(np.median(noise)), 3),
                "ratio": number(ratio, 3),
            }
        )
    return rows


def settings_rows(tree: Tree, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names and values."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from settings_rows(value, f"{name}.")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(str(item) for item in value) or "(none)"
        else:
            yield name, str(value)


def series(point: Point, name: str) -> list[float]:
    """One entry of a point's history, in the order of rounds; rounds without it are skipped."""
    return [float(r[name]) for r in point.history if r.get(name) is not None]


def ordered(results: Results) -> list[Point]:
    """The points by target epsilon, then seed."""
    return sorted(results.points, key=lambda point: point.order)


def cell(mean: float | None, low: float | None, high: float | None) -> dict[str, str]:
    """A metric and its interval, as far as there are any."""
    interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
    return {"mean": MISSING if mean is None else f"{mean:.3f}", "interval": interval}


def _cell(found: Interval | None) -> dict[str, str]:
    return cell(found.mean, found.low, found.high) if found else cell(None, None, None)


def _claims(results: Results) -> Iterator[Claim]:
    return (claim for point in ordered(results) for claim in point.claims)
