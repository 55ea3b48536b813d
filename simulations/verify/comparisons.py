"""What points say of themselves beside references, from the metrics that are stated of both.

Nobody hands on single people's ranks. So a difference must be that of the metrics, its error one
that two samples of such errors can have, and interval and verdict what follows from these two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from shared.errors import DataError
from simulations.compare import (
    METRICS,
    SAME_MODEL,
    Difference,
    beside,
    stated_means,
)
from simulations.results import Point, Reference, Results, Stated

_SAME = 1e-9


def comparison_problems(results: Results) -> list[str]:
    """Comparisons that are missing, do not follow, or are of what is not there."""
    parts: dict[str, Point | Reference] = {
        f"points[{at}]": point for at, point in enumerate(results.points)
    }
    if SAME_MODEL in results.references:
        parts[f"references.{SAME_MODEL}"] = results.references[SAME_MODEL]
    found = [
        problem
        for where, part in parts.items()
        for problem in _problems(f"{where}.compared", part, beside(part, results.references))
    ]
    try:
        means = stated_means(results.points)
    except DataError:
        return found  # a target that is none: among the problems of its point
    if not found and not _same(results.get("compared", []), means):
        found.append("compared: does not follow from what the points state")
    return found


def _problems(
    where: str, part: Point | Reference, others: Mapping[str, Reference]
) -> Iterator[str]:
    told, mine = Stated(part.table("compared")), Stated(part.table("metrics"))
    users = mine.number("users")
    due = {
        name: Stated(other.table("metrics"))
        for name, other in others.items()
        if users >= 2 and Stated(other.table("metrics")).number("users") == users
    }
    for name in sorted(set(told.stated) ^ set(due)):
        yield f"{where}.{name}: {'missing' if name in due else 'nothing to compare with'}"
    for name in sorted(set(told.stated) & set(due)):
        table = Stated(told.table(name))
        for metric in METRICS:
            if not _follows(Stated(table.table(metric)), metric, users, (mine, due[name])):
                yield f"{where}.{name}.{metric}: does not follow from the metrics of both"


def _follows(told: Stated, metric: str, users: float, of: tuple[Stated, Stated]) -> bool:
    mean, error = told.number("difference"), told.number("se")
    one, other = (metrics.number(metric) for metrics in of)
    first, second = (metrics.number(f"{metric}_se") for metrics in of)
    if not (abs(mean) <= 1 and abs(mean - (one - other)) <= _SAME):
        return False
    least, most = possible_errors(metric, (one, other), (first, second), users)
    if not least - _SAME <= error <= most + _SAME:
        return False
    own = {**Difference.over([(mean, error)], users).stated(), "se": error}
    return _same(told.stated, own)


def possible_errors(
    metric: str, means: tuple[float, float], errors: tuple[float, float], users: float
) -> tuple[float, float]:
    """The least and the largest standard error that a difference of two metrics can have.

    That of two samples with such errors, whatever goes with what. Of hits it is known better: the
    people for whom they differ are at least as many as make up the difference.

    Parameters
    ----------
    metric : str
        Of `simulations.compare.METRICS`.
    means, errors : (float, float)
        Of both over the same people.
    users : float
        How many people, at least 2.
    """
    least, most = abs(errors[0] - errors[1]), min(sum(errors), 1.0)
    if metric.endswith("hr@10"):
        apart = abs(means[0] - means[1])
        differ = apart, min(sum(means), 2 - sum(means))  # which share of the people
        own = [math.sqrt(max(share - apart**2, 0.0) / (users - 1)) for share in differ]
        least, most = max(least, own[0]), min(most, own[1])
    return least, most


def _same(stated: Any, own: object) -> bool:
    """Two JSON values, but for the last digits of numbers."""
    if isinstance(own, dict):
        alike = isinstance(stated, dict) and set(stated) == set(own)
        return alike and all(_same(stated[name], own[name]) for name in own)
    if isinstance(own, list):
        alike = isinstance(stated, list) and len(stated) == len(own)
        return alike and all(map(_same, stated, own))
    if isinstance(own, float):
        value = Stated({"value": stated}).number("value")
        return math.isclose(value, own, rel_tol=0, abs_tol=_SAME)
    return type(stated) is type(own) and stated == own
