"""Accuracy against privacy budget: every epsilon, every seed, and the reference points."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from server.checkpoint import load
from shared.config import ExperimentConfig, at_epsilon, to_dict
from shared.data.salted import SaltedDigest
from shared.errors import ConfigError, LedgerError
from shared.files import RESTORE, FolderLock
from shared.metrics import NOT_RELEASED
from shared.privacy.contribution.units import devices_add_noise
from shared.privacy.keys import load_or_create_signing_key, trusted_public_key
from shared.privacy.ledger.seal import digests, sealed_files
from shared.privacy.plan.plan import device_plan, server_plan
from shared.run_files import RunFolder, point_name, run_files
from simulations.compare import (
    SAME_MODEL,
    planned_references,
    same_model,
    settings_apart,
    stated_means,
    with_comparisons,
)
from simulations.console import Console
from simulations.engine.references import REFERENCES, planned_updates
from simulations.flower.before import refuse_data, refuse_empty_rounds, warnings
from simulations.report import Standing, draw_curve, write_report
from simulations.results import Point, Reference, Results, Tree
from simulations.sweep.environment import another_version, environment, opening
from simulations.sweep.finished import finished
from simulations.sweep.folder import (
    leaving_nothing,
    make_folders,
    refuse_another,
    save_settings,
)
from simulations.sweep.jobs import Advance, Job, work
from simulations.sweep.machines import Machines
from simulations.sweep.point import run_point
from simulations.sweep.progress import SweepProgress
from simulations.sweep.same_model import reference_of
from simulations.table import write_tables
from simulations.trackers import Tracking

Found = Point | Reference


def run_sweep(
    config: ExperimentConfig,
    directory: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    console: Console | None = None,
    tracking: Tracking | None = None,
) -> Results:
    """Run a whole experiment into a folder; what was completed there before is kept.

    A run that is complete is read and returned: nothing of it is opened, computed or written.

    Parameters
    ----------
    config : ExperimentConfig
    directory : Path
        New or empty, unless `resume`.
    resume : bool
        Continue what is there.
    quiet : bool
        Tell warnings alone, and no progress.
    console : Console, optional
        Where both go; standard error by default.
    tracking : Tracking, optional
        Told of every round and point that is computed.

    Raises
    ------
    ConfigError
        If the folder holds another experiment, or one and `resume` is false, or another process
        works in it, or a setting does not fit the data. Nothing was made then.
    DataError
        If the data cannot be read, or nobody in it can be evaluated. Nothing was made then.
    LedgerError
        If something in the folder disagrees with what was sealed there.
    """
    run = RunFolder(directory)
    refuse_another(config, run, resume)
    told = console or Console(stderr=True)
    if resume and (whole := _whole(run, told)):
        return whole
    with FolderLock(directory) as lock:
        if resume:
            lock.take()
            if whole := _whole(run, told):  # by the process that held the lock
                return whole
        data = SaltedDigest.read(run.data) if run.settings.exists() else None
        with Machines(config, data=data) as simulation:
            refuse_data(simulation)
            settings = _points(simulation)
            load_or_create_signing_key()  # a key that cannot be had is an error now, not in an hour
            if config.engine.engine == "ray":
                simulation.ray()  # nor is a machine that is too small for it
            pool = simulation.workers()
            with leaving_nothing(run, lock):
                make_folders(run)
                lock.take()
                refuse_another(config, run, resume)  # of two that start at once, one is second
                save_settings(simulation.config, simulation.data, run)
            if pool and any(devices_add_noise(point) for point in settings):
                pool.keep_in(directory)
            return _sweep(simulation, settings, run, (quiet, told), tracking or Tracking())


def _whole(run: RunFolder, console: Console) -> Results | None:
    found = finished(run)
    if found is None:
        return None
    results, signer = found
    told = f"{run.path}: complete, nothing is computed or written again; the run is {signer}"
    SweepProgress(0, quiet=True, console=console).message(told)
    return results


def _sweep(
    simulation: Machines,
    settings: list[ExperimentConfig],
    run: RunFolder,
    how: tuple[bool, Console],
    tracking: Tracking,
) -> Results:
    """Everything that is written, in a folder that is ours."""
    quiet, console = how
    before = Results.read(run.results) if run.results.exists() else None
    record = _Record(simulation, settings, run)
    if before:
        _refuse_lost(before, record, run)
    record.write()  # never less than an interrupted run had written
    jobs = [_reference_job(name, simulation, run) for name in record.references]
    jobs += [_point_job(point, simulation, run, tracking) for point in settings]
    jobs = [job for job in jobs if job.name not in record.found]
    if SAME_MODEL in record.found:  # interrupted between that and what follows
        _remove_trial(run)
    pool = simulation.workers()
    at_once, stop = (pool.size, pool.stop) if pool else (1, _nothing)
    total = sum(job.updates for job in jobs)
    with SweepProgress(total, quiet=quiet or not jobs, console=console) as progress:
        told = another_version(_environments(before), environment(simulation))
        for line in [*(f"warning: {each}" for each in warnings(simulation, settings)), told]:
            if line:
                progress.message(line)
        if pool:
            pool.tell = progress.message
        with tracking.of(run, record.results(), progress.message):
            with closing(work(jobs, at_once, progress, stop)) as finished:
                for name, found in finished:
                    record.found[name] = found
                    record.write()
            results = record.results(complete=True)
            draw_curve(results, run.curve)
            write_report(results, run.path, Standing.of_a_run(trusted_public_key()))
            write_tables(results, run)
            record.write(complete=True)
    return results


def _environments(before: Results | None) -> list[Tree]:
    """In which an interrupted run was worked on, as far as it says so."""
    if before is None:
        return []
    parts = [*before.points, *before.references.values()]
    return [before.table("environment"), *(each for part in parts for each in part.environments)]


def _refuse_lost(before: Results, record: _Record, run: RunFolder) -> None:
    """What was finished and sealed is not made a second time."""
    points = [before.point_files(point.target, point.get("seed")) for point in before.points]
    for name in [*points, *before.references]:
        if name not in record.found:
            raise LedgerError(f"{run.points}: what {name} found is missing; {RESTORE}")


class _Record:
    """What was completed, by name; results hold it in the order of the settings."""

    def __init__(
        self, simulation: Machines, settings: list[ExperimentConfig], run: RunFolder
    ) -> None:
        self._opening, self._run = opening(simulation), run
        config = simulation.config
        self.references = planned_references(config, bool(settings_apart(to_dict(config))))
        self._points = [point_name(point.privacy.epsilon, point.seed) for point in settings]
        files = {name: run.reference(name) for name in self.references}
        sealed = {name: run_files(run.path, name).sealed for name in self._points}
        self.found: dict[str, Found] = {
            **{name: Reference.read(file) for name, file in files.items() if file.exists()},
            **{name: Point.read(file) for name, file in sealed.items() if file.exists()},
        }

    def results(self, *, complete: bool = False) -> Results:
        """What a run claims that was completed so far."""
        done = [self.found[name] for name in self._points if name in self.found]
        named = {name: self.found[name] for name in self.references if name in self.found}
        points, references = with_comparisons(
            [part for part in done if isinstance(part, Point)],
            {name: part for name, part in named.items() if isinstance(part, Reference)},
        )
        means = stated_means(points)
        return self._opening.having(points, references, complete=complete, compared=means)

    def write(self, *, complete: bool = False) -> None:
        """Seal what a run claims so far, with every file of what was completed."""
        run = self._run
        shown = [run.curve, run.report, *run.tables] if complete else []
        files = digests(run.path, [run.settings, *shown])
        # As they were when their part was completed: what was altered since is not vouched for.
        for found in self.found.values():
            files |= sealed_files(found.stated)
        self.results(complete=complete).write(run.results, files)


def _reference_job(name: str, simulation: Machines, run: RunFolder) -> Job[Found]:
    if name == SAME_MODEL:
        return _same_model_job(simulation, run)
    planned = planned_updates(name, simulation.config, len(simulation.evaluated))

    def act(advance: Advance) -> Reference:
        return _reference(name, simulation, run.reference(name), planned, advance)

    return Job(name, name.replace("_", " "), planned, act)


def _same_model_job(simulation: Machines, run: RunFolder) -> Job[Found]:
    """The noised points' settings without noise: what noise alone costs is measured from there."""
    point, file = same_model(simulation.config), run.reference(SAME_MODEL)

    def act(advance: Advance) -> Reference:
        if not file.exists():
            made = run.trial(SAME_MODEL)
            make_folders(made)
            found = run_point(simulation, point, made.path, lambda entry: _tell(entry, advance))
            Reference(reference_of(found, point)).write(file, {})
            _remove_trial(run)
        return Reference.read(file)

    left = _updates_left(point, simulation, run.trial(SAME_MODEL))
    return Job(SAME_MODEL, "same model, no noise", left, act)


def _remove_trial(run: RunFolder) -> None:
    """A model without noise, and everyone's ranks: kept for no longer than it is needed."""
    shutil.rmtree(run.trial(SAME_MODEL).path, ignore_errors=True)


def _updates_left(point: ExperimentConfig, simulation: Machines, run: RunFolder) -> int:
    """Local trainings from where a point was left."""
    federation, name = point.federation, point_name(point.privacy.epsilon, point.seed)
    reached = load(run_files(run.path, name).checkpoint)
    left = federation.fixed_rounds - (reached.round_number if reached else 0)
    return round(left * federation.expected_cohort(len(simulation.users)))


def _point_job(
    point: ExperimentConfig, simulation: Machines, run: RunFolder, tracking: Tracking
) -> Job[Found]:
    epsilon, seed = point.privacy.epsilon, point.seed

    def act(advance: Advance) -> Point:
        files = run_files(run.path, point_name(epsilon, seed))
        reached = load(files.checkpoint)
        with tracking.point(point, files, reached.history if reached else ()) as log:

            def heard(entry: dict[str, float]) -> None:
                _tell(entry, advance)
                log.round(entry)

            found = run_point(simulation, point, run.path, heard)
            log.finished(opening(simulation), found)
        return found

    label = f"epsilon {epsilon:g}, seed {seed}"
    return Job(point_name(epsilon, seed), label, _updates_left(point, simulation, run), act)


def _nothing() -> None:
    """Where the work is in this thread, nobody waits for workers."""


def _reference(
    name: str, simulation: Machines, file: Path, planned: int, advance: Advance
) -> Reference:
    """Compute a reference point, or read what it left when it completed before."""
    if not file.exists():
        started = time.monotonic()
        pool = simulation.workers()
        if pool is None:
            found = REFERENCES[name](simulation, simulation.config, advance)
        else:
            found = pool.ask(pool.rank(), "reference", name, simulation.config).result()
            advance(planned, "")
        about = {
            "seconds": time.monotonic() - started,
            "metrics_status": NOT_RELEASED,
            "environments": [environment(simulation)],
        }
        Reference({**found, **about}).write(file, {})
    return Reference.read(file)


def _tell(entry: dict[str, float], advance: Advance) -> None:
    if "hr@10" in entry:  # a second word on a round that was counted already
        advance(0, f"validation HR@10 {entry['hr@10']:.3f}")
    else:
        advance(int(entry["participants"]), f"round {entry['round']:.0f}")


def _points(simulation: Machines) -> list[ExperimentConfig]:
    """The settings of every point; what cannot run is refused before anything runs."""
    config, users = simulation.config, len(simulation.population)
    for name, values in (("epsilons", config.sweep.epsilons), ("seeds", config.sweep.seeds)):
        if not values or len(set(values)) < len(values):
            raise ConfigError(f"sweep.{name} = {list(values)}: give at least one, and each once")
    _refuse_alike(config.sweep.epsilons)
    points = [
        at_epsilon(config, epsilon, seed)
        for seed in config.sweep.seeds
        for epsilon in config.sweep.epsilons
    ]
    refuse_empty_rounds(simulation, points)  # first: of nobody any budget is met without noise
    for point in points:  # planned now (cached): a budget that no noise meets costs no hours
        server_plan(point, users)
        device_plan(point, users)
        simulation.engine(point.model)
    if config.sweep.references:
        simulation.engine(config.model)
    return points


def _refuse_alike(epsilons: Sequence[float]) -> None:
    """Two budgets that tables, curve and report would call the same are no two points."""
    shown: dict[str, float] = {}
    for epsilon in epsilons:
        first = shown.setdefault(f"{epsilon:.4g}", epsilon)
        if first != epsilon:
            raise ConfigError(
                f"sweep.epsilons = {first!r} and {epsilon!r}: the same in the four digits that are "
                "shown; leave one out"
            )
