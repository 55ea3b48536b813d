"""What shows only across points: which were planned, and what is claimed or left beside them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.config import ExperimentConfig, from_dict
from shared.errors import ConfigError, LedgerError
from shared.privacy.chain import Chain
from shared.privacy.policy import policy_hash
from simulations.summary import summarise
from simulations.verify_claims import number, point_words, sealed

_TOLERANCE = 1e-6
# The accountants check the points, the ledgers' policy the settings, `_summary_problems` the rest.
_CHECKED = {"points", "config", "summary"}
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
        Of `simulations.verify_claims.read_results`.
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
    left_over, in_progress = _unclaimed(directory, points, unfinished)
    return PlanCheck(
        complete, len(planned), tuple(sorted(problems + left_over)), tuple(in_progress)
    )


def _planned(config: ExperimentConfig | None) -> dict[_Point, ExperimentConfig]:
    if config is None:
        return {}
    return {
        (epsilon, seed): config.at_epsilon(epsilon, seed)
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
    """No two points may rest on one ledger."""
    files = Counter(str(sealed(point).get("file")) for point in points)
    heads = Counter(str(sealed(point).get("head")) for point in points)
    problems = [f"{name}: claimed by {n} points" for name, n in files.items() if n > 1]
    return problems + [f"head {head}: claimed by {n} points" for head, n in heads.items() if n > 1]


def _unclaimed(
    directory: Path, points: list[dict[str, Any]], unfinished: dict[_Point, ExperimentConfig]
) -> tuple[list[str], list[str]]:
    """Problems and ledgers in progress among the ledgers that no point claims."""
    claimed = {str(sealed(point).get("file")) for point in points}
    names = sorted({path.name for path in directory.glob("ledger-*.jsonl")} - claimed)
    expected = _ledger_files(unfinished) if names else {}
    problems, in_progress = [], []
    for name in names:
        if name not in expected:
            problems.append(f"{name}: no point of results.json claims it")
            continue
        try:
            in_progress.append(_so_far(directory / name, expected[name]))
        except LedgerError as error:
            problems.append(str(error))
    return problems, in_progress


def _ledger_files(unfinished: dict[_Point, ExperimentConfig]) -> dict[str, ExperimentConfig]:
    if not unfinished:
        return {}
    from simulations.names import point_name

    return {f"ledger-{point_name(*point)}.jsonl": at for point, at in unfinished.items()}


def _so_far(path: Path, config: ExperimentConfig) -> str:
    """What a ledger in progress shows, every whole line of it checked.

    A last line without its end is what a crash leaves: nothing was released for it.
    """
    try:
        *whole, torn = path.read_bytes().split(b"\n")
    except OSError as error:
        raise LedgerError(f"{path.name}: cannot be read: {error.strerror}") from None
    chain = Chain(path.name)
    for line in whole:
        chain.add(line + b"\n")
    if whole and chain.header.policy != policy_hash(config):
        raise LedgerError(f"{path.name}: was opened for other settings than its point's")
    n = len(chain.entries)
    recorded = f"{n} release{'' if n == 1 else 's'} recorded, not sealed yet"
    cut = "; its last line was cut off in writing, nothing was released for it" if torn else ""
    return f"{path.name}: in progress, {recorded}{cut}"


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
    return [
        f"results.json: {where}: an epsilon that no ledger shows; it must not be there"
        for where in _epsilons(rest, "")
    ]


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
