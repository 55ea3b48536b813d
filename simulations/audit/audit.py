"""The audit of whatever somebody holds: a run, a device, an adapter, or a run that is not ours."""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from client.device.folder import SETTINGS as DEVICE
from shared.errors import DataError, StarlingError
from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.ledger.seal import digests
from shared.run_files import RunFolder, no_run
from simulations.audit import foreign, held
from simulations.audit.bounds import OFF
from simulations.audit.checks.noise import SCALE
from simulations.audit.checks.people import CLIP
from simulations.audit.checks.record import EPSILON, LEDGER
from simulations.audit.checks.risk import FILES
from simulations.audit.findings import Finding
from simulations.audit.foreign.reading import FILE as FOREIGN
from simulations.audit.outcome import FILE, Audit, Part
from simulations.audit.report.page import write_page
from simulations.audit.run import Depth, Say, run_parts, subject
from simulations.audit.where import outermost
from simulations.audit.words import CANNOT, LIMITS, OWN
from simulations.results import Results

_NEEDED = (EPSILON, LEDGER, SCALE, CLIP)  # of a foreign run, without which its claim is not shown
Parts = Callable[[], Iterator[Part]]


def audit(path: Path, key: str | None, depth: Depth, say: Say) -> Audit:
    """Audit what lies at a path.

    Parameters
    ----------
    path : Path
        A run's folder, a device's folder, a released adapter (.safetensors), or the folder of a
        foreign run.
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
    ours = public_hex(load_or_create_signing_key())
    settings = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "starling": importlib.metadata.version("starling"),
        "auditor": ours,
        **depth.stated(),
    }
    cannot = CANNOT[str(about["kind"])]
    if about.get("sealed_by") == ours:
        cannot = (*cannot, OWN)
    return Audit(about, settings, _gathered(parts()), cannot, LIMITS)


def _gathered(parts: Iterator[Part]) -> tuple[Part, ...]:
    """All of them; of what is spoilt already, as many as its files let one look at."""
    found = list[Part]()
    try:
        found.extend(parts)
    except StarlingError as error:
        if not any(each.verdict == "violated" for part in found for each in part.findings):
            raise
        stopped = Finding("replay", "not shown", FILES, str(error))
        found.append(Part("what came no further", "", findings=(stopped,)))
    return tuple(found)


def _kind(path: Path, key: str | None, depth: Depth, say: Say) -> tuple[dict[str, object], Parts]:
    run = RunFolder(path)
    if run.results.is_file():
        results = Results.read(run.results)
        return subject(path, results), lambda: run_parts(path, key, depth, say)
    if (path / DEVICE).is_file():
        about = _named("device", path, path / DEVICE) | {"files": held.records_of(path)}
        return about, lambda: held.device_parts(path)
    if (path / FOREIGN).is_file():
        say("reading arrays")
        told = foreign.read(path)
        about = _named("foreign", path, path / FOREIGN) | {"files": dict(told.digests)}
        return about, lambda: _foreign(told, depth, say)
    if path.is_file() and path.suffix == ".safetensors":
        return _named("adapter", path, path), lambda: held.adapter_parts(path, key)
    if (path / FILE).is_file():
        raise DataError(f"{path}: an audit itself; check it with starling verify")
    if not path.exists() or path.is_dir():
        why = no_run(path, run.results.name)
        raise DataError(f"{path}: {why}; or a device's folder, or an adapter")
    raise DataError(
        f"{path}: a file; give the folder of a run or a device, or an adapter (.safetensors)"
    )


def _foreign(run: foreign.ForeignRun, depth: Depth, say: Say) -> Iterator[Part]:
    say("checks and bounds")
    found = foreign.audited(run, depth.confidence)
    controls = tuple(each for each in found if each.name == OFF)
    rest = [each for each in found if each not in controls]
    if not controls:
        why = "No canary is known: nothing says what this audit would have seen"
        controls = (Finding(OFF, "not shown", FILES, why, required=True),)
    rest = [replace(each, required=each.name in _NEEDED) for each in rest]
    claim = run.claim
    claimed = {"epsilon": claim.epsilon, "delta": claim.delta, "relation": claim.relation}
    about = "A federated run that is not ours, as its folder tells it."
    yield Part(run.name, about, claimed, tuple(rest), controls)


def _named(kind: str, path: Path, file: Path) -> dict[str, object]:
    digest = digests(file.parent, [file])[file.name]
    name = path.resolve().relative_to(outermost(path).parent)
    return {"kind": kind, "name": str(name), "file": file.name, "sha256": digest}


def save(found: Audit, folder: Path) -> tuple[Path, Path]:
    """Write an audit into its folder: the page, and `audit.json` under the auditor's seal."""
    page = write_page(found, folder)
    return found.write(folder), page
