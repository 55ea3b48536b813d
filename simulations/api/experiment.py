"""Run a simulation: what `starling simulate` and `starling.simulate` do."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from shared.errors import EngineError, StarlingError, nearest
from shared.run_files import RunFolder
from simulations.api.options import Options, options
from simulations.api.settings import experiment_of, never
from simulations.api.words import in_python
from simulations.console import Console

if TYPE_CHECKING:
    from simulations.api.run import Run


def simulate(**given: Unpack[Options]) -> Run:
    """Draw accuracy against privacy budget over virtual clients.

    Every option of `starling simulate` is an argument of the same name, with `_` for `-`; budgets,
    seeds and references are numbers and lists. What they say is in docs/python.md.

    Parameters
    ----------
    **given
        `out` is a new folder for everything made, by default `runs/NAME`. `resume` is the folder of
        a run to continue; True continues what `out` holds, if that is this experiment, and begins
        it otherwise: a cell that can be run again. `quiet` prints nothing at all.

    Returns
    -------
    Run

    Raises
    ------
    TypeError
        For an argument that there is none of, naming the nearest.
    ConfigError, DataError, ModelError
        For a mistake in settings, data or weights: nothing was made then.

    Examples
    --------
    >>> run = simulate(data="world", users=200, epsilon=[2, 8], rounds=2)  # doctest: +SKIP
    """
    for name in given:
        if name not in options():
            told = f"simulate() got an unexpected keyword argument {name!r}"
            raise TypeError(f"{told}{nearest(name, options())}")
    quiet = given.get("quiet", False)
    with in_python():
        return run_experiment(given, Console(stderr=True, quiet=quiet), _call)


def run_experiment(given: Options, console: Console, going_on: Callable[[Path], str]) -> Run:
    """Run what options ask for, into its folder.

    Parameters
    ----------
    given : Options
    console : Console
        Where progress and warnings go.
    going_on : callable
        What continues the run in a folder, as whoever is interrupted types it.
    """
    experiment, folder, resume = experiment_of(given)
    from simulations.api.run import Run  # numbers enter here
    from simulations.trackers import Tracking, track_run

    names = given.get("track") or ()
    tracking = Tracking([names] if isinstance(names, str) else names)
    for told in never(experiment):
        console.print(f"warning: {told}", soft_wrap=True)
    with _saying_how_to_go_on(RunFolder(folder), resume, going_on):
        from simulations.sweep.folder import plain_folder
        from simulations.sweep.sweep import run_sweep  # torch and Flower enter here

        folder = plain_folder(folder)
        with _flower_silent():
            run_sweep(
                experiment,
                folder,
                resume=resume,
                quiet=given.get("quiet", False),
                console=console,
                tracking=tracking,
            )
        if not tracking.begun:  # nothing was left to compute
            track_run(RunFolder(folder), tracking, console.print)
    return Run(folder)


def _call(folder: Path) -> str:
    return f"starling.simulate(resume={str(folder)!r})"


@contextmanager
def _flower_silent() -> Iterator[None]:
    """Progress tells what Flower's log would; its level is whoever's afterwards who set it."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, told as a mistake in --out


@contextmanager
def _saying_how_to_go_on(
    run: RunFolder, resume: bool, going_on: Callable[[Path], str]
) -> Iterator[None]:
    """Note on whatever stops a run what continues it, where anything does.

    A mistake in settings or data, and a guarantee that does not hold, stop it again.
    """
    ours = resume or not run.settings.exists()
    try:
        yield
    except BaseException as error:
        from_outside = (
            not isinstance(error, StarlingError)
            or isinstance(error, EngineError)
            or getattr(error.__context__, "errno", None) in _FULL
        )
        if not (ours and run.settings.is_file()):
            error.add_note("nothing was made yet")
        elif from_outside:
            error.add_note(f"continue: {going_on(run.path)}")
        raise
