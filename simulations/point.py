"""One point of the curve: the unmodified ServerApp over virtual clients, and what it cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flwr.serverapp import ServerApp
from safetensors.numpy import save_file

from server.app import app as server_app
from server.app import run_files
from server.progress import Listener, listener
from shared.config import ExperimentConfig, dump_toml
from shared.files import write_atomically
from shared.model.adapter import current
from shared.privacy.accountant import epsilon_prv, epsilon_rdp
from shared.privacy.device_ledgers import DEVICES, DeviceLedgers
from shared.privacy.keys import load_or_create_signing_key
from shared.privacy.ledger import Ledger, seal
from simulations.grid import GRIDS, run_app
from simulations.workbench import Workbench


def point_name(epsilon: float, seed: int) -> str:
    """Name of a point's files, such as `eps-8-seed-0`; different for any two points."""
    return f"eps-{repr(epsilon).removesuffix('.0').replace('+', '')}-seed-{seed}"


def run_point(
    bench: Workbench,
    config: ExperimentConfig,
    directory: Path,
    on_round: Listener,
    app: ServerApp = server_app,
) -> dict[str, Any]:
    """Run one point, or return what it left when it already completed.

    Parameters
    ----------
    config : ExperimentConfig
        The point's own settings: `experiment.at_epsilon(epsilon, seed)`.
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
    sealed = directory / "points" / f"{name}.sealed.json"
    # Sealed once: a later resumption must not vouch for a ledger that was altered since.
    if not sealed.exists():
        files = run_files(directory, name)
        _federate(bench, config, directory, name, on_round, app)
        outcome = json.loads(files.outcome.read_text(encoding="utf-8"))
        outcome |= _spent_by_all(directory, name, outcome)
        outcome["adapter"] = f"adapters/{name}.safetensors"
        write_atomically(sealed, json.dumps(outcome))  # infinity inside: ours alone
    point: dict[str, Any] = json.loads(sealed.read_text(encoding="utf-8"))
    return point


def _federate(
    bench: Workbench,
    config: ExperimentConfig,
    directory: Path,
    name: str,
    on_round: Listener,
    app: ServerApp,
) -> None:
    """Run the ServerApp; one that completed before checks its ledger and evaluates again."""
    files = run_files(directory, name)
    engine = bench.engine(config.model)
    if not files.initial.exists():
        adapter = current(engine.recommender, engine.schema).cpu().numpy()
        save_file(engine.schema.split(adapter), files.initial)
    settings = files.initial.with_name(f"{name}.toml")
    settings.write_text(dump_toml(config), encoding="utf-8")
    run_config: dict[str, str | bool] = {
        "config": str(settings),
        "directory": str(directory),
        "name": name,
        "simulated": True,
    }
    token = listener.set(on_round)
    try:
        run_app(app, GRIDS[config.engine.engine](engine, directory / DEVICES / name), run_config)
    finally:
        listener.reset(token)


def _spent_by_all(directory: Path, name: str, outcome: dict[str, Any]) -> dict[str, Any]:
    """What the server's ledger shows, the devices' ledgers, or one beside the other."""
    file, devices = run_files(directory, name).ledger, directory / DEVICES / name
    if not file.exists():
        return _spent(DeviceLedgers.open(devices))
    spent = _spent(Ledger.open(file))
    if "example" in outcome:
        spent["example"] = outcome["example"] | _spent(DeviceLedgers.open(devices))
    return spent


def _spent(record: Ledger | DeviceLedgers) -> dict[str, Any]:
    """Epsilon as the record shows it, three ways, and the record's seal."""
    delta, relation = record.header.delta, record.header.relation
    histories = record.histories()
    return {
        "epsilon": record.epsilon(),
        "epsilon_rdp": max(epsilon_rdp(history, delta, relation) for history in histories),
        "epsilon_prv": max(epsilon_prv(history, delta, relation) for history in histories),
        "ledger": seal(record, load_or_create_signing_key()),
    }
