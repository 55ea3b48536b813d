"""Progress of long work: a bar with rate and time left, or plain lines when not on a terminal.

In a notebook it is one line that is kept up to date. Everything else goes to standard error, so
that a command's own output can be piped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from html import escape
from typing import Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from simulations.console import Console

LINE_INTERVAL = 10.0  # seconds between plain lines
SHOWN_INTERVAL = 0.5  # between changes of a notebook's line


class SweepProgress:
    """Progress over the client updates of a whole sweep, used as a context manager.

    Any thread may report.

    Parameters
    ----------
    total : int
        Local trainings of all points and references together, >= 0.
    quiet : bool
        Print nothing but `message`.
    console : Console, optional
        Where to write; standard error by default. On a terminal a live bar is drawn, elsewhere a
        plain line at most every `LINE_INTERVAL` seconds, and one at the start and the end; in a
        notebook one line, whatever the console writes to, that changes.
    clock : callable
        Seconds, monotonic.

    Examples
    --------
    >>> with SweepProgress(total=40, quiet=True) as progress:
    ...     progress.point("epsilon 8, seed 0")
    ...     progress.advance(note="HR@10 .41")
    """

    def __init__(
        self,
        total: int,
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.done = 0
        self._skipped = 0
        self._console = console or Console(stderr=True)
        self._quiet = quiet
        self._clock = clock
        self._label = ""
        self._note = ""
        self._started = self._last_line = clock()
        self._bar: Progress | None = None
        self._shown: _Shown | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        self._started = self._last_line = self._clock()
        if self._quiet:
            return self
        if self._console.is_terminal:
            self._bar = _bar(self._console)
            self._bar.add_task("starting", total=self.total, note="")
            self._bar.start()
        else:
            if self._console.is_jupyter:
                self._shown = _Shown()
            self._tell(f"{self.total} client updates to go")
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif not self._quiet:
            ended = "finished" if raised[0] is None else "stopped"
            spent = _duration(self._clock() - self._started)
            self._tell(f"{ended} after {self.done}/{self.total} updates, {spent}")

    def point(self, label: str) -> None:
        """Name what is being worked on, such as `epsilon 8, seed 0`."""
        with self._lock:
            self._name(label)
            if self._bar is None and not self._quiet:
                self._tell(self._status())

    def _name(self, label: str) -> None:
        self._label, self._note = label, ""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=label, note="")

    def advance(self, updates: int = 1, note: str = "", label: str = "") -> None:
        """Count finished client updates.

        Parameters
        ----------
        updates : int
        note : str
            A short remark such as the last metric.
        label : str
            Of what advanced, where several things are worked on at once.
        """
        with self._lock:
            if label and label != self._label:
                self._name(label)
            self.done += updates
            self.total = max(self.total, self.done)  # more may come than a round expects
            self._note = note or self._note
            if self._bar is not None:
                task, total = self._bar.task_ids[0], self.total
                self._bar.update(task, advance=updates, total=total, note=self._note)
            elif not self._quiet and self._clock() - self._last_line >= self._interval:
                self._tell(self._status())

    def skip(self, updates: int) -> None:
        """Count updates that took no time: planned and not made, or made before."""
        with self._lock:
            self._skipped += updates  # must not enter the rate
            self.advance(updates)

    def message(self, text: str) -> None:
        """Print a line that stays, above the bar; shown even when quiet."""
        with self._lock:
            self._line(text)

    @property
    def _interval(self) -> float:
        return LINE_INTERVAL if self._shown is None else SHOWN_INTERVAL

    def _tell(self, status: str) -> None:
        """How far it is: a line of its own, or that of a notebook changed."""
        if self._shown is None:
            self._line(status)
        else:
            self._last_line = self._clock()
            self._shown.change(status, self.done, self.total)

    def _status(self) -> str:
        """`epsilon 8, seed 0: 120/400 updates, 15 updates/s, 0:00:19 left, HR@10 .41`."""
        parts = [f"{self.done}/{self.total} updates"]
        seconds = self._clock() - self._started
        worked = self.done - self._skipped
        if worked > 0 and seconds > 0:
            left = max(self.total - self.done, 0) * seconds / worked
            parts += [_rate(worked / seconds), f"{_duration(left)} left"]
        if self._note:
            parts.append(self._note)
        status = ", ".join(parts)
        return f"{self._label}: {status}" if self._label else status

    def _line(self, text: str) -> None:
        self._last_line = self._clock()
        self._console.print(text, soft_wrap=True)


class _Shown:
    """One line of a notebook that changes."""

    def __init__(self) -> None:
        self._handle: Any = None

    def change(self, text: str, done: int, total: int) -> None:
        """Show this instead of what was shown."""
        from IPython.display import display

        bar = f'<progress value="{done}" max="{max(total, 1)}"></progress>'
        page = {"text/html": f"<div>{bar} {escape(text)}</div>", "text/plain": text}
        if self._handle is None:
            self._handle = display(page, raw=True, display_id=True)
        else:
            self._handle.update(page, raw=True)


class _RateColumn(ProgressColumn):
    """Client updates per second, or seconds per update when slow."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(_rate(speed) if speed else "")


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        speed_estimate_period=120.0,  # updates differ in cost between points
    )


def _rate(per_second: float) -> str:
    return f"{per_second:.3g} updates/s" if per_second >= 0.5 else f"{1 / per_second:.1f} s/update"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
