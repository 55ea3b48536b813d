"""One search: trial after trial, each a whole run whose validation is kept and all else is not."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import TrialState

from shared.config import ExperimentConfig, at_epsilon
from shared.errors import ConfigError
from shared.files import FolderLock
from simulations.flower.before import refuse_data
from simulations.sweep.machines import Machines
from simulations.sweep.point import run_point
from simulations.tune.asked import METRICS, Search, Tried, refuse_private, told
from simulations.tune.folder import TuneFolder

Say = Callable[[str], None]


def search(asked: Search, trials: int, folder: TuneFolder, say: Say) -> list[Tried]:
    """Carry a search on until so many trials were made; all of them, the best first.

    Parameters
    ----------
    asked : Search
    trials : int
        >= 1, those made before included.
    folder : TuneFolder
        New, or of the same search.
    say : callable
        Told a line after every trial.

    Raises
    ------
    ConfigError
        If the search is not one, the folder is another's, or no trial could be run.
    DataError, ModelError
        As a run.
    """
    refuse_private(asked)
    if trials < 1:
        raise ConfigError(f"--trials {trials}: expected at least 1")
    if asked.metric not in METRICS:
        raise ConfigError(f"--metric {asked.metric}: expected one of {', '.join(METRICS)}")
    as_it_stands = asked.settings({})
    with Machines(as_it_stands) as opened:
        refuse_data(opened)
        about = {"catalogue": opened.config.data.catalogue, "users": len(opened.population)}
        vectors = opened.vectors
    made = folder.begin(asked, about)
    with FolderLock(folder.path) as lock, _leaving_nothing(folder, made) as begun:
        lock.take()
        study = _study(folder)
        if "start" not in study.user_attrs:
            value, error = _measured(_Trial(asked, as_it_stands, vectors), folder)
            study.set_user_attr("start", [value, error])
        begun.append(True)
        start = Tried(0, {}, *study.user_attrs["start"])
        _forget_interrupted(study)
        say(f"as it stands: {_figure(asked, start)}")
        while (ended := len(_told(study))) < trials:
            # Seeded by how many were told: a search that goes on tries what it would have tried.
            study.sampler = TPESampler(seed=asked.seed * 1_000_003 + ended)
            tried = _try(asked, study, vectors, folder)
            folder.keep(asked, [start, *_told(study)], trials)
            say(f"trial {ended + 1} of {trials}: {tried.why or _figure(asked, tried)}")
        found = [start, *_told(study)]
        folder.keep(asked, found, trials)
    good = [each for each in found if not each.why]
    return sorted(good, key=lambda each: (-each.value, each.number)) + [
        each for each in found if each.why
    ]


@contextmanager
def _leaving_nothing(folder: TuneFolder, made: bool) -> Iterator[list[bool]]:
    """Remove a new folder again where not even the settings as they stand can be run."""
    begun: list[bool] = []
    try:
        yield begun
    except BaseException:
        if made and not begun:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _figure(asked: Search, tried: Tried) -> str:
    values = ", ".join(f"{name} {told(value)}" for name, value in tried.values.items())
    return f"{asked.metric} {tried.value:.4f}{'; ' if values else ''}{values}"


@dataclass(frozen=True)
class _Trial:
    """The settings of one, and the item vectors that all have in common."""

    asked: Search
    config: ExperimentConfig
    vectors: Any


def _study(folder: TuneFolder) -> Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="tune", storage=folder.storage(), direction="maximize", load_if_exists=True
    )


def _forget_interrupted(study: Study) -> None:
    """What was being tried when a search was interrupted is tried again."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _try(asked: Search, study: Study, vectors: Any, folder: TuneFolder) -> Tried:
    trial = study.ask()
    values = {each.setting: each.suggested(trial) for each in asked.space}
    try:
        made = _Trial(asked, asked.settings(values), vectors)
        value, error = _measured(made, folder)
    except ConfigError as failed:  # values that do not go together, or a budget that none meets
        trial.set_user_attr("why", str(failed))
        study.tell(trial, state=TrialState.PRUNED)
    else:
        trial.set_user_attr("error", error)
        study.tell(trial, value)
    return _told(study)[-1]


def _told(study: Study) -> list[Tried]:
    """The trials that ended, in order."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [
        Tried(
            number + 1,
            trial.params,
            math.nan if trial.value is None else trial.value,
            trial.user_attrs.get("error", math.nan),
            trial.user_attrs.get("why", ""),
        )
        for number, trial in enumerate(ended)
    ]


def _measured(trial: _Trial, folder: TuneFolder) -> tuple[float, float]:
    """The mean over seeds on validation items, and its standard error over people.

    A run ranks test items too; nothing of that is read, and its folder is removed.
    """
    found = list(_validations(trial, folder.work))
    metric = trial.asked.metric
    value = math.fsum(each[metric] for each in found) / len(found)
    # The same people under every seed: the error of the mean is at most the mean of the errors.
    error = math.fsum(each.get(f"{metric}_se", math.nan) for each in found) / len(found)
    return value, error


def _validations(trial: _Trial, work: Path) -> Iterator[Mapping[str, float]]:
    asked = trial.asked
    with Machines(trial.config, trial.vectors) as machines:
        for seed in asked.seeds:
            point = at_epsilon(machines.config, asked.epsilon, seed)
            shutil.rmtree(work, ignore_errors=True)
            try:
                found: Any = run_point(machines, point, work, lambda entry: None)
                yield found.stated["validation"]
            finally:
                shutil.rmtree(work, ignore_errors=True)
