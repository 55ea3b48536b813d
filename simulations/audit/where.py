"""Where an audit goes: beside what is audited, and nowhere that somebody else's files are."""

from __future__ import annotations

from pathlib import Path

from shared.errors import ConfigError
from shared.files import make_folder
from shared.run_files import RunFolder


def outermost(path: Path) -> Path:
    """The run's folder that something lies in; itself where it is in none."""
    at = path.resolve()
    runs = [each for each in at.parents if RunFolder(each).results.is_file()]
    return runs[-1] if runs else at


def default_folder(path: Path) -> Path:
    """Where an audit of a path goes unless it is said: beside it, never into it."""
    outer, own = outermost(path), path.resolve()
    name = own.stem if own.is_file() else own.name
    inside = f"{outer.name}-" if outer != own else ""
    return outer.with_name(f"{inside}{name}-audit")


def new_folder(folder: Path) -> Path:
    """Make the folder of an audit.

    Raises
    ------
    ConfigError
        If there is something already, or it cannot be made.
    """
    inside = [each for each in folder.resolve().parents if RunFolder(each).results.is_file()]
    if inside:
        raise ConfigError(
            f"{folder}: in the folder of a run, whose seal knows no such file; choose another --out"
        )
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder}: is there already; choose a new or empty --out")
        make_folder(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from None
    return folder
