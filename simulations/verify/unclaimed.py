"""Ledgers that no point claims: of points in progress after an interruption, or a problem."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from shared.config import ExperimentConfig, settings_hash
from shared.errors import LedgerError
from shared.privacy.ledger.chain import Chain
from shared.privacy.ledger.device_ledgers import DEVICES, device_files
from shared.run_files import point_name
from simulations.verify.claims import claimed_files, plain_file


def unclaimed(
    directory: Path,
    points: list[dict[str, Any]],
    unfinished: dict[tuple[float, int], ExperimentConfig],
) -> tuple[list[str], list[str]]:
    """Problems, and ledgers in progress, among what no point claims.

    Parameters
    ----------
    directory : Path
        Holds the server's ledgers, and below `devices` a folder of devices' ledgers a point.
    points : list of dict
        Those that results.json states.
    unfinished : dict
        By target epsilon and seed, the settings of planned points that are not among them.

    Returns
    -------
    problems, in_progress : list of str
    """
    try:
        names = sorted(_ledgers_in(directory) - claimed_files(points))
    except LedgerError as error:
        return [str(error)], []
    expected = _expected_names(unfinished) if names and unfinished else {}
    problems, in_progress = [], []
    for name in names:
        if name not in expected:
            problems.append(f"{name}: no point of results.json claims it")
            continue
        try:
            in_progress.append(_so_far(directory, name, expected[name]))
        except LedgerError as error:
            problems.append(str(error))
    return problems, in_progress


def _ledgers_in(directory: Path) -> set[str]:
    devices = directory / DEVICES
    names = {path.name for path in directory.glob("ledger-*.jsonl")}
    if devices.is_symlink() or (devices.exists() and not devices.is_dir()):
        raise LedgerError(f"{DEVICES}: not a folder of the run; the devices' ledgers lie in it")
    if devices.exists():
        try:
            found = list(os.scandir(devices))
        except OSError as error:
            raise LedgerError(f"{DEVICES}: cannot be read: {error.strerror}") from None
        kept = (entry for entry in found if entry.is_dir() or entry.name.endswith(".jsonl"))
        names |= {f"{DEVICES}/{entry.name}" for entry in kept}
    return names


def _expected_names(
    unfinished: dict[tuple[float, int], ExperimentConfig],
) -> dict[str, ExperimentConfig]:
    names = {}
    for point, config in unfinished.items():
        names[f"ledger-{point_name(*point)}.jsonl"] = config
        names[f"{DEVICES}/{point_name(*point)}"] = config
    return names


def _so_far(directory: Path, name: str, config: ExperimentConfig) -> str:
    """What ledgers in progress show, every whole line of them checked.

    A last line without its end is what a crash leaves: nothing was released for it.
    """
    of_devices = name.startswith(f"{DEVICES}/")
    files = device_files(directory / name) if of_devices else [plain_file(directory / name)]
    settings = settings_hash(config)
    read = [_whole_lines(path, settings) for path in files]
    entries, torn = sum(n for n, _ in read), sum(cut for _, cut in read)
    recorded = f"{_counted(entries, 'release')} recorded, not sealed yet"
    if of_devices:
        recorded = f"{_counted(len(files), 'device')}, {recorded}"
    cut = "; its last line was cut off in writing, nothing was released for it"
    if of_devices:
        cut = f"; the last line of {torn} was cut off in writing, nothing was released for it"
    return f"{name}: in progress, {recorded}{cut if torn else ''}"


def _whole_lines(path: Path, settings: str) -> tuple[int, bool]:
    """Number of entries, and whether a cut-off line follows them."""
    try:
        *whole, torn = path.read_bytes().split(b"\n")
    except OSError as error:
        raise LedgerError(f"{path.name}: cannot be read: {error.strerror}") from None
    chain = Chain(path.name)
    for line in whole:
        chain.add(line + b"\n")
    if whole and chain.header.settings != settings:
        raise LedgerError(f"{path.name}: was opened for other settings than its point's")
    return len(chain.entries), bool(torn)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
