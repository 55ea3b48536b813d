"""Whether a run's folder is ours to write to: new, empty, or the same experiment continued."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.canonical import finite
from shared.config import ExperimentConfig, dump_toml, from_dict, load_toml, to_dict
from shared.data.salted import SaltedDigest
from shared.errors import ConfigError, DataError
from shared.files import LOCK, FolderLock, write_atomically
from shared.printable import shell_word
from shared.run_files import RunFolder
from simulations.results import Results, Tree


def refuse_another(config: ExperimentConfig, run: RunFolder, resume: bool) -> None:
    """Refuse to write among other files, or to mix two experiments.

    Raises
    ------
    ConfigError
        If the folder holds another experiment, or one and `resume` is false, or other files.
    """
    if not run.settings.exists():
        _refuse_foreign(run)
        return
    if not resume:
        raise ConfigError(
            f"{run.path}: holds a run already; continue it with --resume {shell_word(run.path)}, "
            "or choose another --out"
        )
    saved = from_dict(load_toml(run.settings), str(run.settings))
    then, now = (_identity(to_dict(c)) for c in (saved, config))
    if then != now:
        raise ConfigError(
            f"{run.settings}: differs from these settings in {_difference(then, now)}; resume with "
            "the old ones, or choose another --out"
        )
    _refuse_edited(run, finite(now))


def plain_folder(directory: Path) -> Path:
    """The folder that a path with `..` in it leads to: made as it stands, it would leave others."""
    return directory.resolve() if ".." in directory.parts else directory


@contextmanager
def leaving_nothing(run: RunFolder, lock: FolderLock) -> Iterator[None]:
    """Remove the folders that were made inside, if the run is refused there after all."""
    folders = (run.points, run.adapters, run.path, *run.path.parents)
    missing = [folder for folder in folders if not folder.exists()]
    try:
        yield
    except BaseException:
        if run.path in missing and lock.held:
            for file in (run.data, run.path / LOCK):
                file.unlink(missing_ok=True)
        for folder in missing:
            with suppress(OSError):  # what holds anything is somebody's
                folder.rmdir()
        raise


def make_folders(run: RunFolder) -> None:
    """Make the folders that a run writes to; a `ConfigError` if that fails."""
    with _writing(run):
        for folder in (run.path, run.points, run.adapters):
            folder.mkdir(parents=True, exist_ok=True)


def save_settings(config: ExperimentConfig, data: SaltedDigest, run: RunFolder) -> None:
    """Write settings, and first what data they are about, if they are not there.

    Raises
    ------
    ConfigError
        If that fails.
    """
    with _writing(run):
        if not run.settings.exists():
            data.write(run.data)  # over what a start that came no further left
            write_atomically(run.settings, dump_toml(config))


@contextmanager
def _writing(run: RunFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{run.path}: cannot be written ({error.strerror})") from None


def _refuse_edited(run: RunFolder, now: Tree) -> None:
    """What was made so far says under which settings; a damaged file is refused later."""
    try:
        then = _identity(Results.read(run.results).config)
    except (DataError, KeyError):
        return
    if then != now:
        raise ConfigError(
            f"{run.settings}: was edited since the run started, in {_difference(then, now)}; put "
            "that back, or start a new run with another --out"
        )


def _identity(settings: Tree) -> Tree:
    """Settings without where the work is done: a run may continue with other workers."""
    engine = settings["engine"]
    if isinstance(engine, Mapping):
        engine = {k: v for k, v in engine.items() if k not in ("workers", "address")}
    return {**settings, "engine": engine}


def _refuse_foreign(run: RunFolder) -> None:
    """A folder with somebody's files in it is not ours to write to."""
    ours = (run.points, run.adapters)
    # Before the settings are there.
    first = {*(folder.name for folder in ours), LOCK, f"{run.settings.name}.part"}
    with _writing(run), suppress(FileNotFoundError):
        found = sorted(file.name for file in run.path.iterdir())
        found += sorted(file.name for folder in ours for file in folder.glob("*"))
        first |= {run.data.name, f"{run.data.name}.part"}
        if foreign := [name for name in found if name not in first]:
            raise ConfigError(
                f"{run.path}: holds other files, such as {foreign[0]}; choose a new or empty --out"
            )


def _difference(then: Tree, now: Tree) -> str:
    """The first setting that differs, such as `federation.rounds (2 then, 5 now)`."""
    for name in {**then, **now}:
        one, other = then.get(name), now.get(name)
        if one == other:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            return f"{name}.{_difference(one, other)}"
        return f"{name} ({one} then, {other} now)"
    return "nothing"
