"""What a run claims of itself: the promise in its adapter and, of a real one, `results.json`.

A simulation's results are written by `simulations.sweep`, by the same calls.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.config import ExperimentConfig, SweepConfig, settings_hash, to_dict
from shared.errors import ConfigError
from shared.files import read_record
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import Tree, promise_of
from shared.privacy.ledger.seal import digests, write_sealed
from shared.privacy.ledger.spent import Record, spent
from shared.privacy.plan.plan import device_plan, server_plan
from shared.run_files import RESULTS_SCHEMA, RunFiles, RunFolder


def refuse_another(files: RunFiles) -> None:
    """Refuse a folder that another run's results or ledger lie in: one verdict, one run.

    Raises
    ------
    ConfigError
        Naming what lies there.
    """
    run = RunFolder(files.folder)
    others = [at for at in run.ledgers() if at != files.ledger]
    if run.results.exists() and read_record(run.results, ()).get("name") != files.name:
        others.append(run.results)
    if others:
        raise ConfigError(f"{others[0]}: is of another run; give each run a directory of its own")


def promise(config: ExperimentConfig, users: int, files: RunFiles, *, seeded: bool) -> Tree:
    """What the run's adapter carries, by the ledgers as they stand.

    Parameters
    ----------
    config : ExperimentConfig
        Of the point.
    users : int
        Size of the population.
    files : RunFiles
    seeded : bool
        Whether its noise was.
    """
    return promise_of(_kept(config, users, files), settings_hash(config), seeded=seeded)


def write_results(
    config: ExperimentConfig, users: int, files: RunFiles, outcome: Mapping[str, Any] | None
) -> None:
    """Write and seal `results.json` of a real run.

    Parameters
    ----------
    config : ExperimentConfig
        Of the point.
    users : int
        Size of the population.
    files : RunFiles
        Where it is finished the adapter is there, and all else that is released.
    outcome : mapping, optional
        What the server knows of the point; None while it is not finished.
    """
    # Of the settings only this point was run.
    alone = SweepConfig(epsilons=(config.privacy.epsilon,), seeds=(config.seed,), references=())
    results = {
        "schema": RESULTS_SCHEMA,
        "starling": importlib.metadata.version("starling"),
        "name": files.name,
        "complete": outcome is not None,
        "data": {"users": users},
        "config": to_dict(replace(config, sweep=alone)),
        "points": [] if outcome is None else [_point(config, users, files, outcome)],
        "references": {},
    }
    run = RunFolder(files.folder)
    write_sealed(run.results, results, digests(run.path, files.released if outcome else ()))


def _point(
    config: ExperimentConfig, users: int, files: RunFiles, outcome: Mapping[str, Any]
) -> dict[str, Any]:
    point = dict(outcome)
    for at, (_, record) in enumerate(_kept(config, users, files)):
        shown = spent(record, config, users) if record else {}
        point |= {"example": {**point["example"], **shown}} if at else shown
    return point | {"adapter": str(files.adapter.relative_to(files.folder))}


def _kept(
    config: ExperimentConfig, users: int, files: RunFiles
) -> list[tuple[Guarantee, Record | None]]:
    """The run's guarantees, the server's first; a real device keeps its own record."""
    kept: list[tuple[Guarantee, Record | None]] = []
    if server := server_plan(config, users):
        kept.append((server.guarantee, Ledger.open(files.ledger)))
    if device := device_plan(config, users):
        there = files.devices.exists()
        kept.append((device.guarantee, DeviceLedgers.open(files.devices) if there else None))
    return kept
