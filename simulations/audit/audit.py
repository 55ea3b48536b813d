"""The audit of whatever somebody holds: a run, a device, an adapter, or a run that is not ours."""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Callable, Iterator
from pathlib import Path

from client.device.folder import SETTINGS as DEVICE
from shared.errors import ConfigError, DataError
from shared.files import make_folder
from shared.privacy.ledger.seal import digests
from shared.run_files import RunFolder, no_run
from simulations.audit import held
from simulations.audit.outcome import Audit, Part
from simulations.audit.report.page import write_page
from simulations.audit.run import Depth, Say, run_parts, subject
from simulations.audit.words import CANNOT, LIMITS
from simulations.results import Results

Parts = Callable[[], Iterator[Part]]


def audit(path: Path, key: str | None, depth: Depth, say: Say) -> Audit:
    """Audit what lies at a path.

    Parameters
    ----------
    path : Path
        A run's folder, a device's folder, a released adapter (.safetensors).
    key : str, optional
        The operator's public key, 64 hexadecimal digits.
    depth : Depth
    say : callable
        Told what is being done.

    Raises
    ------
    DataError
        If it is none of these.
    ConfigError, ModelError
        If what it needs is not here.
    """
    about, parts = _kind(path, key, depth, say)
    settings = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "starling": importlib.metadata.version("starling"),
        **depth.stated(),
    }
    return Audit(about, settings, tuple(parts()), CANNOT[str(about["kind"])], LIMITS)


def _kind(path: Path, key: str | None, depth: Depth, say: Say) -> tuple[dict[str, object], Parts]:
    run = RunFolder(path)
    if run.results.is_file():
        results = Results.read(run.results)
        return subject(path, results), lambda: run_parts(path, key, depth, say)
    if (path / DEVICE).is_file():
        return _named("device", path, path / DEVICE), lambda: held.device_parts(path)
    if path.is_file() and path.suffix == ".safetensors":
        return _named("adapter", path, path), lambda: held.adapter_parts(path, key)
    if not path.exists() or path.is_dir():
        raise DataError(f"{path}: {no_run(path, run.results.name)}, nor is it a device's folder")
    raise DataError(
        f"{path}: a file; give a run's folder, a device's folder, or an adapter (.safetensors)"
    )


def _named(kind: str, path: Path, file: Path) -> dict[str, object]:
    digest = digests(file.parent, [file])[file.name]
    return {"kind": kind, "name": path.resolve().name, "file": file.name, "sha256": digest}


def default_folder(path: Path) -> Path:
    """Where an audit of a path goes unless it is said: beside it, never into it."""
    at = path.resolve()
    return at.with_name(f"{at.stem if at.is_file() else at.name}-audit")


def new_folder(folder: Path) -> Path:
    """Make the folder of an audit.

    Raises
    ------
    ConfigError
        If there is something already, or it cannot be made.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder}: is there already; choose a new or empty --out")
        make_folder(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from None
    return folder


def save(found: Audit, folder: Path) -> tuple[Path, Path]:
    """Write an audit into its folder: the page, and `audit.json` under the auditor's seal."""
    page = write_page(found, folder)
    return found.write(folder), page
