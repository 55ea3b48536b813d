"""Reading what a run claims, `results.json`, trusting nothing in it."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from shared.errors import DataError, LedgerError

_LARGEST = 2**53  # whole numbers beyond it are not exact as floats


def read_results(path: Path) -> dict[str, Any]:
    """A run's results, with a list of objects as `points`.

    Raises
    ------
    DataError
        If the file is missing, unreadable or not results of schema 1.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
        if repeated:
            raise ValueError(f"{repeated[0]!r} is given twice")
        return dict(pairs)

    try:
        results = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; give a run's folder") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(results, dict) or results.get("schema") != 1:
        raise DataError(f"{path}: not results of schema 1")
    points = results.get("points")
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise DataError(f"{path}: points: expected a list of objects")
    return results


def number(point: dict[str, Any], name: str) -> float:
    """A number or the string "inf"; NaN, which equals nothing, for anything else."""
    value = point.get(name)
    if value == "inf":
        return math.inf
    if type(value) is int and abs(value) < _LARGEST:
        return float(value)
    return value if type(value) is float else math.nan


def sealed(point: dict[str, Any]) -> dict[str, Any]:
    """The seal of a point's ledger; empty if there is none."""
    found = point.get("ledger")
    return found if isinstance(found, dict) else {}


def guarantees_of(point: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The guarantees that a point claims: its own, and under both units that of its examples.

    Returns
    -------
    list of (str, dict)
        What distinguishes the guarantee in reports, and its claim as a point of its own.
    """
    own = [("", point)]
    inner = point.get("example")
    if "example" in point:  # whatever it is: a claim that nothing reads would stand unchecked
        inner = inner if isinstance(inner, dict) else {}
        outer = {name: point.get(name) for name in ("rounds", "cohort", "seed")}
        own.append((", per example", {**outer, **inner}))
    return own


def claimed_files(points: list[dict[str, Any]]) -> set[str]:
    """Files and folders that points name as the ledgers of their guarantees."""
    claims = [claim for point in points for _, claim in guarantees_of(point)]
    return {str(sealed(claim).get("file")) for claim in claims}


def plain_file(path: Path) -> Path:
    """The path, if a file lies there or nothing: not a link, which may lead out of the folder.

    Raises
    ------
    LedgerError
        If something else does.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise LedgerError(f"{path.name}: cannot be read: a link, or no plain file")
    return path


def users_of(results: dict[str, Any]) -> int | None:
    """The size of the population, at least 1; None if it is not stated."""
    data = results.get("data")
    users = data.get("users") if isinstance(data, dict) else None
    return users if type(users) is int and 1 <= users < _LARGEST else None


def point_words(epsilon: float, seed: Any) -> str:
    """What a point is called in reports: target epsilon and seed, different for any two points."""
    return f"epsilon {repr(epsilon).removesuffix('.0')}, seed {seed!r}"
