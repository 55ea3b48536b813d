"""The work of a sweep, one piece after the other or, where there are workers, several at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from simulations.sweep.progress import SweepProgress

Found = TypeVar("Found")
Advance = Callable[[int, str], None]  # client updates done, a remark


@dataclass(frozen=True)
class Job(Generic[Found]):
    """A reference or a point.

    Attributes
    ----------
    name : str
        Among the results.
    label : str
        What people are told that it is.
    updates : int
        Client updates that were planned, >= 0.
    run : callable
        Does it, and returns its result; what it does advance is told to its argument.
    """

    name: str
    label: str
    updates: int
    run: Callable[[Advance], Found]


class Part:
    """The progress of one job among those of all."""

    def __init__(self, progress: SweepProgress, job: Job[Any], label: str = "") -> None:
        self._progress = progress
        self._job = job
        self._label = label
        self._done = 0

    def advance(self, updates: int, note: str) -> None:
        """Count finished updates; those beyond what was planned, as cohorts are drawn, as none."""
        counted = min(updates, self._job.updates - self._done)
        self._done += counted
        self._progress.advance(counted, note, self._label)

    def finish(self) -> None:
        """Count what was planned and not needed."""
        self._progress.skip(self._job.updates - self._done)


def work(
    jobs: Sequence[Job[Found]], at_once: int, progress: SweepProgress, stop: Callable[[], None]
) -> Generator[tuple[str, Found]]:
    """Names and results of jobs, as they are completed.

    Parameters
    ----------
    jobs : sequence of Job
    at_once : int
        In so many threads; 1 stays in the caller's.
    progress : SweepProgress
    stop : callable
        Makes jobs that wait for workers stop waiting; called when one failed, or the caller was
        interrupted. Close the iterator to be sure of that: then no job is at work any more.
    """
    if at_once == 1:
        for job in jobs:
            yield job.name, _run(job, Part(progress, job), progress)
        return
    threads = ThreadPoolExecutor(at_once, thread_name_prefix="job")
    try:
        running = {
            threads.submit(_run, job, Part(progress, job, job.label), progress): job for job in jobs
        }
        for done in as_completed(running):
            yield running[done].name, done.result()
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        stop()
        raise
    finally:
        threads.shutdown()  # those at work end at their next question to a worker


def _run(job: Job[Found], part: Part, progress: SweepProgress) -> Found:
    progress.point(job.label)
    found = job.run(part.advance)
    part.finish()
    return found
