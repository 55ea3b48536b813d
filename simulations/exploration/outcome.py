"""What an online run claims: `online.json` under a seal, a ledger for each point beside it.

Regret, reward and who is present are the evaluator's, and released to nobody; the ledgers say what
was. Read back by `simulations.exploration.check` and by nothing else.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from shared.canonical import finite, read_json
from shared.errors import DataError
from shared.files import read_file, write_atomically
from shared.metrics import NOT_RELEASED
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.seal import digests, write_sealed
from shared.run_files import point_name
from simulations.exploration.days import Course
from simulations.exploration.settings import OnlineConfig

FILE, TABLE, FIGURE = "online.json", "online.csv", "online.png"
_SCHEMA = 1
_CLAIMS = {"schema", "kind", "config", "metrics_status", "points"}
_LEVEL, _BEFORE = 1.25, 3  # recovered: at most so many times the mean of so many days before


def ledger_name(policy: str, epsilon: float, seed: int) -> str:
    """Of a point's ledger."""
    return f"ledger-{policy.replace('=', '-')}-{point_name(epsilon, seed)}.jsonl"


@dataclass(frozen=True)
class Point:
    """One policy under one budget in one world.

    Attributes
    ----------
    policy : str
    seed : int
    epsilon : float
        By PLD, from the ledger.
    noise_multiplier : float
    guarantee : dict
        As `Guarantee.stated`.
    ledger : dict
        `file`, `entries` and `head`.
    course : Course
    """

    policy: str
    seed: int
    epsilon: float
    noise_multiplier: float
    guarantee: dict[str, Any]
    ledger: dict[str, Any]
    course: Course

    @classmethod
    def of(cls, policy: str, seed: int, lifetime: tuple[Ledger, float], course: Course) -> Point:
        """Of a ledger that is complete, its noise multiplier, and what came of it."""
        ledger, noise = lifetime
        entries, head = ledger.position()
        promised: Guarantee = ledger.header.guarantee
        kept = {"file": ledger.name, "entries": entries, "head": head}
        return cls(policy, seed, ledger.epsilon(), noise, promised.stated(), kept, course)

    @property
    def budget(self) -> float:
        """Epsilon that was asked for."""
        return float(self.guarantee["epsilon_target"])


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, and its 95% interval by Student's t; None of one seed alone."""

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Over seeds, which are independent."""
        found = np.asarray(values, dtype=np.float64)
        mean = float(found.mean())
        if len(found) < 2:
            return cls(mean, None, None)
        error = float(found.std(ddof=1)) / math.sqrt(len(found))
        half = float(stdtrit(len(found) - 1, 0.975)) * error
        return cls(mean, mean - half, mean + half)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:.2f}"
        return f"{self.mean:.2f} ±{self.high - self.mean:.2f}"


@dataclass(frozen=True)
class Row:
    """All seeds of one policy under one budget.

    Attributes
    ----------
    policy : str
    epsilon : float
        That was asked for.
    regret, reward : Mean
        Summed over days, a person.
    saved : Mean or None
        Regret of the first policy under this budget less this one's, world by world.
    recovered : int or None
        Days from the shift until the mean regret of a day is at most 1.25 times that of the three
        days before it; None: not within the run, or there was no shift.
    present : float
        Share of people who are there on the last day.
    left : float
        Epsilon of the budget that is not spent, the least over seeds.
    """

    policy: str
    epsilon: float
    regret: Mean
    reward: Mean
    saved: Mean | None
    recovered: int | None
    present: float
    left: float


def summarised(points: Sequence[Point], shift: int) -> list[Row]:
    """A row for each policy and budget, in the order of the points."""
    groups: dict[tuple[str, float], list[Point]] = {}
    for point in points:
        groups.setdefault((point.policy, point.budget), []).append(point)
    first = points[0].policy
    rows = []
    for (policy, epsilon), group in groups.items():
        base = {each.seed: sum(each.course.regret) for each in groups.get((first, epsilon), [])}
        regret = [sum(each.course.regret) for each in group]
        gain = [base[each.seed] - sum(each.course.regret) for each in group if each.seed in base]
        daily = np.mean([each.course.regret for each in group], axis=0)
        rows.append(
            Row(
                policy,
                epsilon,
                Mean.of(regret),
                Mean.of([sum(each.course.reward) for each in group]),
                Mean.of(gain) if policy != first and gain else None,
                recovery(daily.tolist(), shift),
                float(np.mean([each.course.present[-1] for each in group])),
                min(epsilon - each.epsilon if each.epsilon < math.inf else 0.0 for each in group),
            )
        )
    return rows


def recovery(daily: Sequence[float], shift: int) -> int | None:
    """Days from the shift until regret is back; see `Row`."""
    if not _BEFORE <= shift < len(daily):
        return None
    level = _LEVEL * sum(daily[shift - _BEFORE : shift]) / _BEFORE
    return next((day for day, value in enumerate(daily[shift:]) if value <= level), None)


def write_outcome(folder: Path, config: OnlineConfig, points: Sequence[Point]) -> None:
    """The table, then the claims under the operator's seal, which names every file."""
    write_atomically(folder / TABLE, table_of(points))
    claims = {
        "schema": _SCHEMA,
        "kind": "online",
        "config": config.stated(),
        "metrics_status": NOT_RELEASED,
        "points": [finite(asdict(point)) for point in points],
    }
    named = [TABLE, FIGURE, *(str(point.ledger["file"]) for point in points)]
    write_sealed(folder / FILE, claims, digests(folder, [folder / name for name in named]))


def table_of(points: Sequence[Point]) -> str:
    """Every day of every point, as CSV.

    Raises
    ------
    ValueError
        If a point has not all figures of a day.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("policy", "epsilon", "seed", "day", "regret", "reward", "present"))
    for point in points:
        course = point.course
        days = zip(course.regret, course.reward, course.present, strict=True)
        for day, row in enumerate(days):
            table.writerow((point.policy, point.budget, point.seed, day, *row))
    return text.getvalue()


def read_outcome(file: Path) -> tuple[dict[str, Any], list[Point]]:
    """The claims as JSON has them, and the points.

    Raises
    ------
    DataError
        If it is no outcome of an online run.
    """
    try:
        tree = read_json(read_file(file))
        points = [_point(each) for each in tree["points"]]
        if tree["schema"] != _SCHEMA or tree["kind"] != "online" or not points:
            raise ValueError("of another schema, or without points")
        if {*tree} - {"seal"} != _CLAIMS or tree["metrics_status"] != NOT_RELEASED:
            raise ValueError("says more or less than such a run does")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{file}: no outcome of an online run ({str(error)[:80]})") from None
    return tree, points


def _point(tree: dict[str, Any]) -> Point:
    course = Course(**{name: [float(v) for v in tree["course"][name]] for name in tree["course"]})
    guarantee = dict(tree["guarantee"])
    guarantee["epsilon_target"] = _number(guarantee["epsilon_target"])
    return Point(
        str(tree["policy"]),
        int(tree["seed"]),
        _number(tree["epsilon"]),
        float(tree["noise_multiplier"]),
        guarantee,
        dict(tree["ledger"]),
        course,
    )


def _number(value: Any) -> float:
    return math.inf if value == "inf" else float(value)
