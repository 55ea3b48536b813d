"""A tracker: a place that keeps figures by round, settings and files, of one point or of a run."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from shared.errors import ConfigError, nearest
from shared.run_files import RunFolder

Figures = Mapping[str, float]
Settings = Mapping[str, object]


class Log(Protocol):
    """What is kept of one point, or of the run as a whole."""

    def figures(self, figures: Figures, step: int) -> None:
        """Finite numbers by name, as they stand after a round."""

    def file(self, path: Path) -> None:
        """A file, if the tracker has a place for its kind."""

    def close(self, finished: bool) -> None:
        """Nothing more is told; whether all was."""


class Tracker(Protocol):
    """A tracker of one run.

    Parameters
    ----------
    run : RunFolder

    Attributes
    ----------
    elsewhere : str
        The machine that it tells; empty where its store is on this one.
    """

    elsewhere: str

    def __init__(self, run: RunFolder) -> None: ...

    def open(self, name: str, settings: Settings) -> Log:
        """Begin a log; of several points at once each has its own.

        Parameters
        ----------
        name : str
            A point's; empty for the run as a whole, whose log is opened first and closed last.
        settings : mapping
            Nested plain values.
        """


PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""By a tracker's name the package that it needs; the extra that brings it has the same name."""


def trackers(names: Iterable[str]) -> dict[str, type[Tracker]]:
    """Their classes, by name.

    Raises
    ------
    ConfigError
        If there is none of a name, or its package is not installed.
    """
    found: dict[str, type[Tracker]] = {}
    for name in names:
        if name not in PACKAGES:
            known = ", ".join(PACKAGES)
            raise ConfigError(f"--track {name}: expected one of {known}{nearest(name, PACKAGES)}")
        try:
            importlib.import_module(PACKAGES[name])
            module = importlib.import_module(f"simulations.trackers.{name}")
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"--track {name}: {error.name} is not installed; pip install 'starling[{name}]' "
                "brings it"
            ) from None
        found[name] = module.TRACKER
    return found


def flat(settings: Settings, at: str = "") -> dict[str, object]:
    """Nested settings as `section.name`."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{at}{name}.")
        else:
            found[at + name] = value
    return found
