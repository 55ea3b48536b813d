"""What shows only across points: which were planned, and what is claimed or left beside them.

A ledger that no point claims is of a point in progress after an interruption, or a problem.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from shared.config import ExperimentConfig, at_epsilon, settings_hash
from shared.errors import ConfigError, LedgerError
from shared.files import read_file
from shared.privacy.ledger.chain import Chain
from shared.privacy.ledger.device_ledgers import device_files
from shared.run_files import DEVICES, RunFolder, run_files
from simulations.results import Point, Results
from simulations.verify.point import plain_file, point_words

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
    names, unfinished : tuple of str
        What the files of all planned points are called, and those of such points.
    """

    complete: bool
    planned: int
    problems: tuple[str, ...]
    in_progress: tuple[str, ...]
    names: tuple[str, ...]
    unfinished: tuple[str, ...]


def check_plan(directory: Path, results: Results) -> PlanCheck:
    """Compare points and ledgers with what the settings planned.

    Parameters
    ----------
    directory : Path
        Holds the ledgers.
    results : Results
    """
    points, complete = results.points, results.complete
    problems = _claim_problems(points)
    if type(results.get("complete")) is not bool:
        problems.append(f"complete = {results.get('complete')!r}: expected true or false")
    if complete and not points:
        problems.append("results.json has no points: nothing is shown")
    try:
        config = results.experiment()
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        config = None
        problems.append(f"results.json: config does not give the planned points ({error})")
    planned = _planned(config)
    stated = Counter(point_words(p.number("epsilon_target"), p.get("seed")) for p in points)
    if config is not None:
        problems += _plan_problems(planned, stated, complete)
    unfinished = (
        {} if complete else {p: at for p, at in planned.items() if point_words(*p) not in stated}
    )
    named = {results.point_files(*p): at for p, at in unfinished.items()}
    left_over, in_progress = _unclaimed(directory, points, named)
    return PlanCheck(
        complete,
        len(planned),
        tuple(sorted(problems + left_over)),
        tuple(in_progress),
        tuple(results.point_files(*point) for point in planned),
        tuple(named),
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


def _claim_problems(points: list[Point]) -> list[str]:
    """No two guarantees may rest on one ledger, nor two points on one adapter."""
    ledgers = [claim.ledger for point in points for claim in point.claims if claim.ledger]
    files = Counter([*(str(at.get("file")) for at in ledgers), *(at.adapter for at in points)])
    heads = Counter(str(at.get("head")) for at in ledgers)
    problems = [f"{name}: claimed {n} times" for name, n in files.items() if n > 1]
    return problems + [f"head {head}: claimed {n} times" for head, n in heads.items() if n > 1]


def _unclaimed(
    directory: Path, points: list[Point], unfinished: dict[str, ExperimentConfig]
) -> tuple[list[str], list[str]]:
    """Problems, and ledgers in progress, among the ledgers that no point claims.

    Those of planned points that an interrupted run has not finished are in progress.
    """
    claimed = {str(claim.ledger.get("file")) for point in points for claim in point.claims}
    try:
        names = sorted(_ledgers_in(directory) - claimed)
    except LedgerError as error:
        return [str(error)], []
    expected = _expected_names(directory, unfinished)
    problems, in_progress = [], []
    for name in names:
        if name not in expected:
            problems.append(f"{name}: no point of results.json claims it")
            continue
        try:
            in_progress.append(_so_far(directory, name, expected[name]))
        except LedgerError as error:
            problems.append(str(error))
    return problems, in_progress


def _ledgers_in(directory: Path) -> set[str]:
    run = RunFolder(directory)
    devices, names = run.devices, {path.name for path in run.ledgers()}
    if devices.is_symlink() or (devices.exists() and not devices.is_dir()):
        raise LedgerError(f"{DEVICES}: not a folder of the run; the devices' ledgers lie in it")
    if devices.exists():
        try:
            found = list(os.scandir(devices))
        except OSError as error:
            raise LedgerError(f"{DEVICES}: cannot be read: {error.strerror}") from None
        kept = (entry for entry in found if entry.is_dir() or entry.name.endswith(".jsonl"))
        names |= {f"{DEVICES}/{entry.name}" for entry in kept}
    return names


def _expected_names(
    directory: Path, unfinished: dict[str, ExperimentConfig]
) -> dict[str, ExperimentConfig]:
    names = {}
    for name, config in unfinished.items():
        files = run_files(directory, name)
        names[files.ledger.name] = names[f"{DEVICES}/{files.devices.name}"] = config
    return names


def _so_far(directory: Path, name: str, config: ExperimentConfig) -> str:
    """What ledgers in progress show, every whole line of them checked.

    A last line without its end is what a crash leaves: nothing was released for it.
    """
    of_devices = name.startswith(f"{DEVICES}/")
    files = device_files(directory / name) if of_devices else [plain_file(directory / name)]
    settings = settings_hash(config)
    read = [_whole_lines(path, settings) for path in files]
    entries, torn = sum(n for n, _ in read), sum(cut for _, cut in read)
    recorded = f"{_counted(entries, 'release')} recorded, not sealed yet"
    if of_devices:
        recorded = f"{_counted(len(files), 'device')}, {recorded}"
    cut = "; its last line was cut off in writing, nothing was released for it"
    if of_devices:
        cut = f"; the last line of {torn} was cut off in writing, nothing was released for it"
    return f"{name}: in progress, {recorded}{cut if torn else ''}"


def _whole_lines(path: Path, settings: str) -> tuple[int, bool]:
    """Number of entries, and whether a cut-off line follows them."""
    try:
        *whole, torn = read_file(path).split(b"\n")
    except OSError as error:
        raise LedgerError(f"{path.name}: cannot be read: {error.strerror}") from None
    chain = Chain(path.name)
    for line in whole:
        chain.add(line + b"\n")
    if whole and chain.header.settings != settings:
        raise LedgerError(f"{path.name}: was opened for other settings than its point's")
    return len(chain.entries), bool(torn)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
