"""A run that is there, finished or not: its points, its curve, its report, its adapters."""

from __future__ import annotations

import html
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import DataError
from shared.files import read_file
from shared.run_files import RunFolder, no_run, run_files
from simulations.api.adapter import Adapter
from simulations.api.words import in_python
from simulations.results import Point, Results, epsilon_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from client.words.said import Said
    from simulations.verify.run import VerifyReport


def load_run(folder: str | Path) -> Run:
    """What lies in a run's folder: a simulation's or a real federation's, finished or not.

    Parameters
    ----------
    folder : str or Path

    Raises
    ------
    DataError
        If there is no run in it, or `results.json` is none.
    """
    with in_python():
        return Run(Path(folder))


class Run:
    """A run's folder.

    Parameters
    ----------
    folder : Path
        Read when the object is made: load it again to see what was added since.

    Attributes
    ----------
    folder : Path
    results : Results
        All that `results.json` says; `results.stated` is the file itself.
    """

    def __init__(self, folder: Path) -> None:
        file = RunFolder(folder).results
        if not file.exists():
            raise DataError(f"{folder}: {no_run(folder, file.name)}")
        self.folder = folder
        self.results = Results.read(file)

    @property
    def complete(self) -> bool:
        """Whether every planned point is there."""
        return self.results.complete

    @property
    def points(self) -> DataFrame:
        """One row for each point, the same columns whatever the run; see docs/python.md.

        What people's data were measured by, such as `hr@10`, is for the evaluator and not covered
        by any epsilon. `points.attrs["units"]` holds units by column.
        """
        from simulations.table import frame

        return frame(self.results)

    @property
    def references(self) -> DataFrame:
        """One row for each reference point: `reference`, `users`, and the metrics of `points`."""
        from simulations.table import reference_frame

        return reference_frame(self.results)

    @property
    def rounds(self) -> DataFrame:
        """One row for each round of each point of a simulation: exact, for the evaluator alone."""
        from simulations.table import round_frame

        return round_frame(self.results)

    def curve(self) -> Figure:
        """Accuracy against privacy budget, with intervals and reference lines.

        Raises
        ------
        DataError
            Of a real run: nobody measures there what a curve shows.
        """
        self._refuse_unmeasured("curve")
        from simulations.report.curve import curve_figure

        figure = curve_figure(self.results)[0]
        _let_notebooks_show(type(figure))
        return figure

    def report(self) -> Page:
        """The report: `.html` is its text, and a notebook shows it.

        Of a complete run it is the file in the folder, else what there is to report by now. Errors
        as for `curve`.
        """
        self._refuse_unmeasured("report")
        file = RunFolder(self.folder).report
        if self.complete and file.is_file():
            return Page(read_file(file).decode())
        from simulations.report.page import render

        return Page(render(self.results))

    def adapter(self, epsilon: float, seed: int | None = None) -> Adapter:
        """What one point released.

        Parameters
        ----------
        epsilon : float
            As it was asked for; `inf` is the point without noise.
        seed : int, optional
            By default the first.

        Raises
        ------
        DataError
            If there is no such point, naming those there are.
        """
        target = epsilon_of(epsilon)
        found = [
            point
            for point in self.results.points
            if point.target == target and seed in (None, point.get("seed"))
        ]
        if not found:
            asked = f"epsilon {target:g}" + ("" if seed is None else f", seed {seed}")
            there = ", ".join(map(_named, self.results.points)) or "none is finished"
            raise DataError(f"{self.folder}: no point at {asked}; there are: {there}")
        name = self.results.point_files(target, found[0].get("seed"))
        return Adapter(run_files(self.folder, name).adapter)

    def recommend(
        self, user: str, k: int = 10, *, epsilon: float | None = None, seed: int | None = None
    ) -> DataFrame:
        """The k best items for a person of the run's data, best first; see `Adapter.recommend`.

        Parameters
        ----------
        user : str
            An identifier of the log; of `world` such as "u3".
        k : int
        epsilon, seed : optional
            Of which point; by default the largest finite budget, and the first seed.
        """
        return self.adapter(self._best() if epsilon is None else epsilon, seed).recommend(user, k)

    def profile(self, user: str, writer: str = "template", *, epsilon: float | None = None) -> Said:
        """A person's taste in words; see `Adapter.profile`, and for `epsilon` `recommend`."""
        adapter = self.adapter(self._best() if epsilon is None else epsilon)
        return adapter.profile(user, writer)

    def track(self, *names: str) -> None:
        """Tell trackers of the run: `tensorboard`, `wandb`, `mlflow`; see docs/trackers.md.

        Of a real federation nothing goes there that is not released.
        """
        from simulations.trackers import Tracking, track_run

        with in_python():
            track_run(RunFolder(self.folder), Tracking(names), print)

    def verify(self, key: str | None = None) -> VerifyReport:
        """Recompute every epsilon from its ledger, and check every file against the seal.

        Parameters
        ----------
        key : str, optional
            The public key that must have sealed it, in 64 hexadecimal digits, or a file with one;
            by default only this machine's own is vouched for.

        Returns
        -------
        VerifyReport
            `ok` whether nothing disagrees; `exit_code` 0 if all of it is shown, 3 if anything
            disagrees, 4 if something is not shown; `verdict` in a sentence; `rows`, `problems`.
        """
        from client.device.covered import typed_key
        from simulations.verify.run import verify_run

        with in_python():
            return verify_run(self.folder, None if key is None else typed_key("--key", key))

    def _refuse_unmeasured(self, what: str) -> None:
        if not self.results.simulated:
            raise DataError(
                f"{self.folder}: a real run has no {what}, as no exact metric leaves a device; see "
                "its points and what was released in results.stated"
            )

    def _best(self) -> float:
        targets = [point.target for point in self.results.points]
        if not targets:
            raise DataError(f"{self.folder}: no point is finished; continue the run first")
        return max([each for each in targets if each != float("inf")] or targets)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {self._about()})"

    def _about(self) -> str:
        data, points = self.results.data, len(self.results.points)
        named = str(data.get("name") or data.get("spec") or self.results.get("name"))
        state = "complete" if self.complete else "NOT complete"
        return f"{named}, {data.get('users')} users, {points} point{'s' * (points != 1)}, {state}"

    def _repr_html_(self) -> str:
        from simulations.report.outcome import promises

        told = [
            f"<p><strong>{html.escape(str(self.folder))}</strong>: {html.escape(self._about())}"
        ]
        shown = ["epsilon_target", "seed", "epsilon", "delta", "unit", "trust"]
        shown += ["hr@10", "hr@10_low", "hr@10_high", "ndcg@10", "full_hr@10", "full_ndcg@10"]
        points = self.points[shown].dropna(axis="columns", how="all")
        told += [points.to_html(index=False, float_format="{:.4g}".format, border=0)]
        told += [f"<p>{html.escape(line)}" for line in promises(self.results)]
        told += ["<p>Metrics are the evaluator's, not released. Nothing here was verified: "]
        return "\n".join(told) + "<code>.verify()</code> does that."


class Page:
    """A page that is whole in itself.

    Attributes
    ----------
    html : str
    """

    def __init__(self, text: str) -> None:
        self.html = text

    def save(self, file: str | Path) -> Path:
        """Write it to a file."""
        Path(file).write_text(self.html, encoding="utf-8")
        return Path(file)

    def __repr__(self) -> str:
        return f"Page({len(self.html):,} characters of HTML)"

    def _repr_html_(self) -> str:
        """In a frame of its own, so that its style stays there."""
        frame = 'style="width: 100%; height: 70vh; border: 1px solid #ccc"'
        return f'<iframe {frame} sandbox="" srcdoc="{html.escape(self.html)}"></iframe>'


def _let_notebooks_show(figures: type) -> None:
    """As they do once pyplot made one, and not before; how somebody chose to see them stays."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        from IPython.core.pylabtools import select_figure_formats

        try:
            shell.display_formatter.formatters["image/png"].lookup_by_type(figures)
        except KeyError:
            select_figure_formats(shell, {"png"})


def _named(point: Point) -> str:
    return f"epsilon {point.target:g}, seed {point.get('seed')}"
