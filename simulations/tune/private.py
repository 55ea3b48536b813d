"""A search on people's own log: every trial a whole run, all of them in one budget.

1. draw    what is tried, at random and all of it before the first run: nothing that is tried
           follows from what was released, so the trials' losses add up as planned
2. plan    the largest budget for each trial with which all together keep the search's
3. run     each on its own ledger and with a seed of its own, as losses of subsampled releases add
           up only where each asks people anew; its figure released with noise
           (`privacy.metrics_share`)
4. choose  by released figures alone, which costs nothing more
5. total   recomputed from all ledgers, and carried by the chosen adapter
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.samplers import RandomSampler

from shared.config import ExperimentConfig, at_epsilon, settings_hash
from shared.errors import ConfigError
from shared.files import FolderLock, read_record
from shared.privacy.contribution.units import releases_metrics
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.seal import digests, write_sealed
from shared.privacy.ledger.together import spent_together
from shared.privacy.plan.plan import Plan, server_plan
from shared.privacy.plan.several import budget_of_each
from shared.run_files import RunFolder
from simulations.flower.before import refuse_data
from simulations.results import Results
from simulations.searched import (
    RELEASED_METRICS,
    SCHEMA,
    Figure,
    best,
    figures_of,
    promise_of_all,
    trial_name,
    write_chosen,
)
from simulations.sweep.machines import Machines
from simulations.sweep.sweep import run_sweep
from simulations.tune.asked import Search, Tried, refuse_private, told
from simulations.tune.folder import TuneFolder

_DRAWS = 100  # for each trial, until one goes together and is no repetition


@dataclass(frozen=True)
class Planned:
    """What is fixed before anything is released.

    Attributes
    ----------
    asked : Search
    values : sequence of mapping
        Of every trial; none of the first, the settings as they stand.
    opened : ExperimentConfig
        The settings as they stand, with what a run resolves.
    each : float
        Epsilon of every trial's run.
    """

    asked: Search
    values: Sequence[Mapping[str, Any]]
    opened: ExperimentConfig
    each: float

    def settings(self, number: int) -> ExperimentConfig:
        """Of a trial's run."""
        seeds = (self.asked.seeds[0] + number,)
        own = replace(self.asked, epsilon=self.each, seeds=seeds).settings(self.values[number])
        return _resolved(own, self.opened)

    def stated(self) -> dict[str, Any]:
        """As the folder holds it."""
        return {"each": self.each, "trials": [dict(each) for each in self.values]}


def plan_trials(asked: Search, trials: int, users: int, opened: ExperimentConfig) -> Planned:
    """Draw what is tried, and what each trial may cost.

    Parameters
    ----------
    asked : Search
        Private.
    trials : int
        Runs in all, the settings as they stand among them.
    users : int
        Size of the population: public.
    opened : ExperimentConfig
        The settings as they stand, with what a run resolves.

    Raises
    ------
    ConfigError
        If there are not so many different trials, or no noise gives each so small a budget.
    """
    values = _drawn(asked, trials)

    def plans_at(epsilon: float) -> list[Plan]:
        at = replace(asked, epsilon=epsilon)
        runs = (_resolved(at.settings(each), opened) for each in values)
        found = (server_plan(at_epsilon(run, epsilon, asked.seeds[0]), users) for run in runs)
        return [plan for plan in found if plan]

    return Planned(asked, values, opened, budget_of_each(plans_at, asked.epsilon))


def search_private(
    asked: Search, trials: int, folder: TuneFolder, say: Callable[[str], None]
) -> list[Tried]:
    """Carry a private search on to its end; all trials, the best first.

    Parameters
    ----------
    asked : Search
    trials : int
        >= 1, fixed when the search begins.
    folder : TuneFolder
        New, or of the same search.
    say : callable
        Told a line after every trial.

    Raises
    ------
    ConfigError
        If the search is not one, or the folder is another's.
    DataError, ModelError, LedgerError
        As a run.
    """
    _refuse(asked, trials)
    with Machines(asked.settings({})) as opened:
        refuse_data(opened)
        users, whole = len(opened.population), opened.config
    planned = plan_trials(asked, trials, users, whole)
    folder.begin(asked, {"catalogue": whole.data.catalogue, "users": users, **planned.stated()})
    with FolderLock(folder.path) as lock:
        lock.take()
        say(f"each of {trials} runs: epsilon {planned.each:g}, together at most {asked.epsilon:g}")
        found = []
        for number, values in enumerate(planned.values):
            run = RunFolder(folder.path / trial_name(number))
            begun = run.settings.exists()
            results = run_sweep(planned.settings(number), run.path, resume=begun, quiet=True)
            figure = Figure.of(results.points[0], asked.metric)
            found.append(Tried(number, values, figure.value, figure.error))
            which = f"trial {number} of {trials - 1}" if number else "as it stands"
            say(f"{which}: {_told(asked, found[-1])}")
        folder.keep(asked, found, trials)
        _write_total(planned, found, folder)
    return sorted(found, key=lambda each: (math.isnan(each.value), -each.value, each.number))


def planned_trials(folder: TuneFolder) -> int:
    """How many trials a private search in a folder was begun with."""
    return len(read_record(folder.search, ("about",))["about"]["trials"])


def _resolved(config: ExperimentConfig, opened: ExperimentConfig) -> ExperimentConfig:
    """Settings with what a run resolves when it starts: people, catalogue, weights."""
    data, model = opened.data, vars(opened.model)
    digests = {name: of for name, of in model.items() if name.endswith("_sha256")}
    return replace(
        config,
        data=replace(config.data, people=data.people, catalogue=data.catalogue),
        model=replace(config.model, **digests),
    )


def _refuse(asked: Search, trials: int) -> None:
    refuse_private(asked)
    if trials < 1:
        raise ConfigError(f"--trials {trials}: expected at least 1")
    if asked.metric not in RELEASED_METRICS:
        known = " or ".join(RELEASED_METRICS)
        raise ConfigError(f"--metric {asked.metric}: with --private expected {known}")
    if len(asked.seeds) > 1:
        raise ConfigError(
            f"--seeds {','.join(map(str, asked.seeds))}: with --private every seed would be a run "
            "more on these people; give one"
        )
    if not math.isfinite(asked.epsilon):
        raise ConfigError("--epsilon inf: with --private expected a budget that is finite")


def _drawn(asked: Search, trials: int) -> list[Mapping[str, Any]]:
    """None of the settings as they stand, then so many draws; each goes together, none twice."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=RandomSampler(seed=asked.seed))
    drawn: list[Mapping[str, Any]] = [{}]
    known = {_hash(asked, {})}
    why = "all that was drawn was there already"
    for _ in range(_DRAWS * trials):
        if len(drawn) == trials:
            break
        trial = study.ask()
        values = {each.setting: each.suggested(trial) for each in asked.space}
        try:
            settings = _hash(asked, values)
        except ConfigError as failed:
            why = str(failed)
            continue
        if settings not in known:
            known.add(settings)
            drawn.append(values)
    if len(drawn) < trials:
        raise ConfigError(
            f"--trials {trials}: --vary gives {len(drawn)} different ones ({why}); give fewer, or "
            "vary more"
        )
    return drawn


def _hash(asked: Search, values: Mapping[str, Any]) -> str:
    config = at_epsilon(asked.settings(values), asked.epsilon, asked.seeds[0])
    if not releases_metrics(config):
        raise ConfigError("privacy.metrics_share: without it nothing is released to choose by")
    return settings_hash(config)


def _told(asked: Search, tried: Tried) -> str:
    values = ", ".join(f"{name} {told(value)}" for name, value in tried.values.items())
    figure = "its release says nothing" if math.isnan(tried.value) else f"{tried.value:.4f}"
    return f"{asked.metric} {figure}, released{'; ' if values else ''}{values}"


def _write_total(planned: Planned, found: Sequence[Tried], folder: TuneFolder) -> None:
    """What all cost together, recomputed from their ledgers; the seal goes over every run's."""
    asked = planned.asked
    runs = [RunFolder(folder.path / trial_name(each.number)) for each in found]
    points = [Results.read(run.results).points[0] for run in runs]
    ledgers = [
        Ledger.open(run.path / str(point.ledger["file"]))
        for run, point in zip(runs, points, strict=True)
    ]
    figures = figures_of(spent_together(ledgers), asked.epsilon)
    chosen = best([Figure(each.value, each.error) for each in found])
    promise = promise_of_all(figures, ledgers, ledgers[chosen].header.settings)
    write_chosen(runs[chosen].path / points[chosen].adapter, promise, folder.chosen)
    trials = [
        {
            "folder": trial_name(each.number),
            "values": dict(each.values),
            "ledger": ledger.head,
            **Figure(each.value, each.error).stated(),
        }
        for each, ledger in zip(found, ledgers, strict=True)
    ]
    claims = {
        "schema": SCHEMA,
        "metric": asked.metric,
        "vary": [each.setting for each in asked.space],
        "each": planned.each,
        "trials": trials,
        "chosen": chosen,
        **figures,
    }
    beside = [folder.search, folder.trials, folder.best, folder.chosen]
    files = digests(folder.path, [*beside, *(run.results for run in runs)])
    write_sealed(folder.total, claims, files)
