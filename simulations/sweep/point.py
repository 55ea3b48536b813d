"""One point of the curve: the unmodified ServerApp over virtual clients, and what it cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flwr.serverapp import ServerApp
from safetensors.numpy import load_file

from server.app import app as server_app
from server.prepare import prepare
from server.progress import Listener, listener
from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.files import read_record, write_atomically
from shared.privacy.accounting.accountant import epsilon_prv, epsilon_rdp, largest
from shared.privacy.keys import load_or_create_signing_key
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.ledger.ledger import Ledger, seal
from shared.privacy.plan.terms import device_terms
from shared.run_files import RunFiles, point_name, run_files
from simulations.engine.examples import devices_folder
from simulations.engine.references import popularity_private
from simulations.flower.grid import run_app
from simulations.sweep.machines import Machines, open_grid
from simulations.sweep.participation import check_participation

_CLAIMED = ("epsilon_target", "unit", "delta", "relation", "trust", "seed", "metrics")


def run_point(
    bench: Machines,
    config: ExperimentConfig,
    directory: Path,
    on_round: Listener,
    app: ServerApp = server_app,
) -> dict[str, Any]:
    """Run one point, or return what it left when it already completed.

    Parameters
    ----------
    config : ExperimentConfig
        The point's own settings: `at_epsilon(experiment, epsilon, seed)`.
    directory : Path
        The sweep's folder; a checkpoint of this point found there is continued.
    on_round : callable
        Told of every round.

    Returns
    -------
    dict
        The point as `results.json` holds it.
    """
    name = point_name(config.privacy.epsilon, config.seed)
    # Sealed once: a later resumption must not vouch for a ledger that was altered since.
    if not is_finished(directory, name):
        files = run_files(directory, name)
        _federate(bench, config, directory, on_round, app)
        outcome = read_record(files.outcome, _CLAIMED)
        if files.popularity.exists():
            outcome["references"] = {"popularity_private": _popularity(bench, config, files)}
        with bench.sealing:
            outcome |= _spent_by_all(config, len(bench.population), directory, outcome)
        outcome["adapter"] = f"adapters/{name}.safetensors"
        # Infinity inside: ours alone.
        write_atomically(_sealed_file(directory, name), json.dumps(outcome))
    return read_point(directory, name)


def is_finished(directory: Path, name: str) -> bool:
    """Whether the point of that name was completed and sealed in a run's folder."""
    return _sealed_file(directory, name).exists()


def read_point(directory: Path, name: str) -> dict[str, Any]:
    """A finished point as `results.json` holds it.

    Raises
    ------
    ConfigError
        If its file was damaged.
    """
    return read_record(_sealed_file(directory, name), (*_CLAIMED, "epsilon", "ledger"))


def _sealed_file(directory: Path, name: str) -> Path:
    return directory / "points" / f"{name}.sealed.json"


def _federate(
    bench: Machines,
    config: ExperimentConfig,
    directory: Path,
    on_round: Listener,
    app: ServerApp,
) -> None:
    """Run the ServerApp; one that completed before checks its ledger and evaluates again."""
    run_config = prepare(bench.engine(config.model).recommender, config, directory)
    token = listener.set(on_round)
    try:
        with open_grid(bench, config.model, run_config) as grid:
            run_app(app, grid, run_config)
    finally:
        listener.reset(token)


def _popularity(bench: Machines, config: ExperimentConfig, files: RunFiles) -> dict[str, Any]:
    """How well the released histogram ranks alone."""
    found = popularity_private(bench, config, load_file(files.popularity)["counts"])
    return found | {
        "computed_from": "the histogram as it was released, nothing else",
        "metrics_status": "evaluator only, not released",
    }


def _spent_by_all(
    config: ExperimentConfig, users: int, directory: Path, outcome: dict[str, Any]
) -> dict[str, Any]:
    """What the server's ledger shows, the devices' ledgers, or one beside the other."""
    name = point_name(config.privacy.epsilon, config.seed)
    file = run_files(directory, name).ledger
    terms = device_terms(config, users)
    if terms is None:
        return _spent(Ledger.open(file))
    folder = devices_folder(directory, name)
    if not folder.exists():
        raise ConfigError(
            f"{name}: no device took part in any round; expect more with --cohort, or give more "
            "--rounds"
        )
    devices = DeviceLedgers.open(folder)
    check_participation(devices, config, users, terms)
    if not file.exists():
        return _spent(devices)
    return _spent(Ledger.open(file)) | {"example": outcome["example"] | _spent(devices)}


def _spent(record: Ledger | DeviceLedgers) -> dict[str, Any]:
    """Epsilon as the record shows it, three ways, and the record's seal."""
    counted = (record.histories(), *record.header.guarantee.counted)
    return {
        "epsilon": record.epsilon(),
        "epsilon_rdp": largest(epsilon_rdp, *counted),
        "epsilon_prv": largest(epsilon_prv, *counted),
        "ledger": seal(record, load_or_create_signing_key()),
    }
