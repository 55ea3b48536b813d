"""What a run tells its trackers: settings, each round, each point, and at the end its files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

from shared.config import ExperimentConfig, at_epsilon, to_dict
from shared.config.places import without_places
from shared.leaves import sections
from shared.privacy.ledger.ledger import Ledger
from shared.run_files import RunFiles, RunFolder, run_files
from simulations.results import Metrics, Point, Results, Stated
from simulations.table import row
from simulations.trackers.tracker import Figures, Log, Settings, Tracker, trackers

Tell = Callable[[str], None]


class Tracking:
    """All trackers of one run; without any nothing is told.

    One that fails is told no more, and the run goes on.

    Parameters
    ----------
    names : sequence of str
        See `simulations.trackers.tracker`.

    Raises
    ------
    ConfigError
        If there is none of a name, or its package is not installed.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._kinds = trackers(names)
        self._at_work: dict[str, Tracker] = {}
        self._simulated = True
        self._tell: Tell = print
        self.begun = not names

    @contextmanager
    def of(self, run: RunFolder, results: Results, tell: Tell) -> Iterator[None]:
        """Tell of a run while it is at work, and of its files when it is finished.

        Parameters
        ----------
        run : RunFolder
        results : Results
            Its settings are told.
        tell : callable
            Takes lines for whoever runs it.
        """
        self._simulated, self._tell, self.begun = results.simulated, tell, True
        for name, kind in self._kinds.items():
            with self._guarded(name):
                self._at_work[name] = kind(run)
                if self._simulated and (there := self._at_work[name].elsewhere):
                    tell(f"warning: --track {name}: exact figures of people go to {there}")
        with self._logs("", results.config) as logs:
            yield
            for file in (run.curve, run.report, run.csv):
                if logs and file.is_file() and self._may(file.name):
                    self._each(logs, partial(_hand, file))

    @contextmanager
    def point(
        self, config: ExperimentConfig, files: RunFiles, history: Sequence[Metrics] = ()
    ) -> Iterator[PointLog]:
        """Tell of one point, and first of the rounds that are behind it."""
        with self._logs(files.name, to_dict(config)) as logs:

            def told(figures: Figures, step: int) -> None:
                finite = {name: at for name, at in figures.items() if math.isfinite(at)}
                may = {name: at for name, at in finite.items() if self._may(name)}
                if may:
                    self._each(logs, lambda log: log.figures(may, step))

            log = PointLog(told if logs else _nobody, files)
            for entry in history:
                log.round(entry)
            yield log

    def _may(self, name: str) -> bool:
        """Whether a tracker is told: of a simulation what has a status, else what is released."""
        leaf = sections()["tracker"].find(name)
        if leaf is None:
            return False
        return self._simulated or leaf.status.split(":")[0] in ("public", "covered")

    @contextmanager
    def _logs(self, name: str, settings: Settings) -> Iterator[dict[str, Log]]:
        logs: dict[str, Log] = {}
        for each, tracker in list(self._at_work.items()):
            with self._guarded(each):
                logs[each] = tracker.open(name, without_places(settings))
        finished = False
        try:
            yield logs
            finished = True
        finally:
            self._each(logs, lambda log: log.close(finished))

    def _each(self, logs: Mapping[str, Log], act: Callable[[Log], None]) -> None:
        for name, log in logs.items():
            if name in self._at_work:
                with self._guarded(name):
                    act(log)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever another program raises costs no hours of work
            self._at_work.pop(name, None)
            told = " ".join(str(error).split())[:200] or type(error).__name__
            self._tell(f"warning: --track {name}: {told}; it is told no more, the run goes on")


class PointLog:
    """What is told of one point.

    Parameters
    ----------
    tell : callable
        Takes figures by name, and the round after which they stand.
    files : RunFiles
    """

    def __init__(self, tell: Callable[[Figures, int], None], files: RunFiles) -> None:
        self._tell, self._files = tell, files
        self._listens = tell is not _nobody

    def round(self, entry: Metrics) -> None:
        """After a round: what the evaluator saw of it, and what the ledger shows so far."""
        if self._listens:
            number = int(entry["round"])
            seen = {f"rounds/{name}": at for name, at in entry.items() if name != "round"}
            self._tell({**seen, **self._spent(number)}, number)

    def finished(self, results: Results, point: Point) -> None:
        """What was released of it on the way, and all that the table of points says."""
        for release in point.released if self._listens else ():
            figures = {
                f"rounds/released_{name}": Stated(cast("Mapping[str, object]", at)).number("value")
                for name, at in release.items()
                if isinstance(at, Mapping)
            }
            self._tell(figures, int(Stated(release).number("round")))
        told = row(results, point)
        figures = {f"point/{name}": at for name, at in told.items() if isinstance(at, int | float)}
        self._tell(figures, int(cast("int", told["rounds"] or 0)))

    def from_ledger(self) -> None:
        """Of a point without a history, as real ones are: what its ledger shows of each round."""
        ledger = self._files.ledger
        entries = Ledger.open(ledger).entries if self._listens and ledger.is_file() else ()
        for number in sorted({entry.round for entry in entries}):
            self._tell(self._spent(number), number)

    def _spent(self, number: int) -> Figures:
        ledger = self._files.ledger
        if not ledger.is_file():
            return {}  # each device has its own
        return {"rounds/epsilon": Ledger.open(ledger).epsilon_after(number)}


def track_run(run: RunFolder, tracking: Tracking, tell: Tell) -> None:
    """Tell trackers of a run that is there: a simulation's, or what is released of a real one.

    Parameters
    ----------
    run : RunFolder
    tracking : Tracking
    tell : callable
        Takes lines for whoever asked for it.
    """
    results = Results.read(run.results)
    experiment = results.experiment()
    with tracking.of(run, results, tell):
        for point in results.points:
            files = run_files(run.path, results.point_files(point.target, point.get("seed")))
            config = at_epsilon(experiment, point.target, int(point.number("seed")))
            with tracking.point(config, files, point.history) as log:
                if not point.history:
                    log.from_ledger()
                log.finished(results, point)


def _hand(file: Path, log: Log) -> None:
    log.file(file)


def _nobody(figures: Figures, step: int) -> None:
    """Where there is no tracker."""
