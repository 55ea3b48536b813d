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
from shared.model.adapter import current
from shared.privacy.accountant import epsilon_prv, epsilon_rdp
from shared.privacy.keys import load_or_create_signing_key
from shared.privacy.ledger import Ledger, seal
from simulations.grid import GRIDS, run_app
from simulations.workbench import Workbench


def point_name(epsilon: float, seed: int) -> str:
    """Name of a point's files, such as `eps-8-seed-0`."""
    return f"eps-{epsilon:g}-seed-{seed}"


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
    files = run_files(directory, name)
    if not files.outcome.exists():
        engine = bench.engine(config.model)
        if not files.initial.exists():
            schema = engine.schema
            adapter = current(engine.recommender, schema).cpu().numpy()
            save_file(schema.split(adapter), files.initial)
        settings = files.initial.with_name(f"{name}.toml")
        settings.write_text(dump_toml(config), encoding="utf-8")
        token = listener.set(on_round)
        try:
            run_app(
                app,
                GRIDS[config.engine.engine](engine),
                {
                    "config": str(settings),
                    "directory": str(directory),
                    "name": name,
                    "simulated": True,
                },
            )
        finally:
            listener.reset(token)
    point: dict[str, Any] = json.loads(files.outcome.read_text(encoding="utf-8"))
    return point | _spent(Ledger.open(files.ledger)) | {"adapter": f"adapters/{name}.safetensors"}


def _spent(ledger: Ledger) -> dict[str, Any]:
    """Epsilon as the ledger shows it, three ways, and the ledger's seal."""
    history = [(entry.event, 1) for entry in ledger.entries]
    delta, relation = ledger.header.delta, ledger.header.relation
    return {
        "epsilon": ledger.epsilon(),
        "epsilon_rdp": epsilon_rdp(history, delta, relation),
        "epsilon_prv": epsilon_prv(history, delta, relation),
        "ledger": seal(ledger, load_or_create_signing_key()),
    }
