"""What shows only across points: which were planned, and what is claimed or left beside them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.config import ExperimentConfig, at_epsilon, from_dict
from shared.errors import ConfigError
from simulations.results import summarise
from simulations.verify.claims import guarantees_of, number, point_words, sealed
from simulations.verify.unclaimed import unclaimed

_TOLERANCE = 1e-6
# `verify_point` checks the points, the ledgers' policy the settings, `_summary_problems` the rest.
_CHECKED = {"points", "config", "summary"}
_READ = {"epsilon", "epsilon_target", "epsilon_rdp", "epsilon_prv"}  # of a guarantee
_Point = tuple[float, int]  # target epsilon and seed


@dataclass(frozen=True)
class PlanCheck:
    """What `check_plan` found.

    Parameters
    ----------
    complete : bool
        Whether the run says that it is.
    planned : int
        Points that the settings ask for.
    problems : tuple of str
        Everything that disagrees.
    in_progress : tuple of str
        Ledgers of points that an interrupted run has not finished: no problem.
    """

    complete: bool
    planned: int
    problems: tuple[str, ...]
    in_progress: tuple[str, ...]


def check_plan(directory: Path, results: dict[str, Any]) -> PlanCheck:
    """Compare points and ledgers with what the settings planned.

    Parameters
    ----------
    directory : Path
        Holds the ledgers.
    results : dict
        Of `simulations.verify.claims.read_results`.
    """
    points = results["points"]
    # Without a word the stricter rules hold.
    complete = results.get("complete") is not False
    problems = [*_claim_problems(points), *_summary_problems(results), *_unchecked(results)]
    if type(results.get("complete")) is not bool:
        problems.append(f"complete = {results.get('complete')!r}: expected true or false")
    if complete and not points:
        problems.append("results.json has no points: nothing is shown")
    try:
        config = from_dict(dict(results["config"]), source="results.json: config")
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        config = None
        problems.append(f"results.json: config does not give the planned points ({error})")
    planned = _planned(config)
    stated = Counter(point_words(number(p, "epsilon_target"), p.get("seed")) for p in points)
    if config is not None:
        problems += _plan_problems(planned, stated, complete)
    unfinished = (
        {} if complete else {p: at for p, at in planned.items() if point_words(*p) not in stated}
    )
    left_over, in_progress = unclaimed(directory, points, unfinished)
    return PlanCheck(
        complete, len(planned), tuple(sorted(problems + left_over)), tuple(in_progress)
    )


def _planned(config: ExperimentConfig | None) -> dict[_Point, ExperimentConfig]:
    if config is None:
        return {}
    return {
        (epsilon, seed): at_epsilon(config, epsilon, seed)
        for seed in config.sweep.seeds
        for epsilon in config.sweep.epsilons
    }


def _plan_problems(
    planned: dict[_Point, ExperimentConfig], stated: Counter[str], complete: bool
) -> list[str]:
    """Every planned point must be there once, and no other; some are missing until the end."""
    names = [point_words(*point) for point in planned]
    problems = [f"{name}: stated {n} times" for name, n in stated.items() if n > 1]
    problems += [f"{name}: not in the settings' sweep" for name in stated if name not in names]
    if complete:
        problems += [
            f"{name}: planned, but missing from a run that is called complete"
            for name in names
            if name not in stated
        ]
    return problems


def _claim_problems(points: list[dict[str, Any]]) -> list[str]:
    """No two guarantees may rest on one ledger."""
    seals = [sealed(claim) for point in points for _, claim in guarantees_of(point)]
    files = Counter(str(seal.get("file")) for seal in seals)
    heads = Counter(str(seal.get("head")) for seal in seals)
    problems = [f"{name}: claimed {n} times" for name, n in files.items() if n > 1]
    return problems + [f"head {head}: claimed {n} times" for head, n in heads.items() if n > 1]


def _summary_problems(results: dict[str, Any]) -> list[str]:
    """A summary, if there is one, must be that of the points."""
    if "summary" not in results:
        return []
    try:
        own = summarise(results["points"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [f"summary: the points cannot be summarised ({error!r})"]
    return _differences("summary", results["summary"], own)[:5]


def _differences(where: str, stated: Any, own: Any) -> list[str]:
    """Where two JSON values differ by more than the tolerance."""
    if isinstance(stated, dict) and isinstance(own, dict):
        return [
            line
            for name in {**stated, **own}
            for line in _differences(
                f"{where}.{name}", stated.get(name, "nothing"), own.get(name, "nothing")
            )
        ]
    if isinstance(stated, list) and isinstance(own, list):
        length = max(len(stated), len(own))
        pairs = zip(*(x + ["nothing"] * (length - len(x)) for x in (stated, own)), strict=True)
        return [
            line
            for index, (one, two) in enumerate(pairs)
            for line in _differences(f"{where}[{index}]", one, two)
        ]
    if stated == own or _both_close(stated, own):
        return []
    return [f"{where} = {stated!r} claimed, the points give {own!r}"]


def _both_close(stated: Any, own: Any) -> bool:
    if {type(stated), type(own)} <= {int, float}:
        return math.isclose(stated, own, rel_tol=0, abs_tol=_TOLERANCE)
    return False


def _unchecked(results: dict[str, Any]) -> list[str]:
    """Epsilons in parts of results.json that are compared with nothing."""
    rest = {name: value for name, value in results.items() if name not in _CHECKED}
    rest["points"] = [_unread(point) for point in results["points"]]
    return [
        f"results.json: {where}: an epsilon that no ledger shows; it must not be there"
        for where in _epsilons(rest, "")
    ]


def _unread(point: dict[str, Any]) -> dict[str, Any]:
    """What no check of a guarantee reads of a point."""
    rest = {name: value for name, value in point.items() if name not in _READ}
    inner = point.get("example")
    if isinstance(inner, dict):
        rest["example"] = {name: value for name, value in inner.items() if name not in _READ}
    return rest


def _epsilons(tree: Any, where: str) -> list[str]:
    if isinstance(tree, list):
        return [found for i, item in enumerate(tree) for found in _epsilons(item, f"{where}[{i}]")]
    if not isinstance(tree, dict):
        return []
    found: list[str] = []
    for name, value in tree.items():
        inner = f"{where}.{name}" if where else name
        found += [inner] if "epsilon" in name.lower() else _epsilons(value, inner)
    return found
