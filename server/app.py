"""The Flower ServerApp: reads its settings, builds, starts.

Run configuration: `config` (a TOML file of one point's settings), `directory` (where the run's
files are; `NAME.initial.safetensors` must be there), `name` (of the point), `policy` (optional: a
signed policy made beforehand by `starling policy make`; else one is made and signed now), `users`
(optional, without `policy`: how many people the run rests on; at least so many must be connected
when it starts).

Simulations run `app` over grids of their own. Flower starts the one of `apps.py`, which serves
alike and, in Flower's simulation runtime (`flwr run .`), makes all of these from the few settings
of `[tool.flwr.app.config]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from logging import INFO
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.supercore import log

from server.federation import run_federation
from shared.config import from_dict, load_toml
from shared.data.protocol import negatives_in_words
from shared.errors import ConfigError
from shared.files import FolderLock
from shared.privacy.ledger.ledger import Ledger
from shared.run_files import RunFiles, run_files

Listener = Callable[[dict[str, float]], None]

METRICS = ("hr@10", "ndcg@10")

# Who is told of completed rounds: of a context, so that nothing is global to a process.
listener: ContextVar[Listener | None] = ContextVar("listener", default=None)

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation that the run configuration names."""
    serve(grid, context.run_config)


def serve(grid: Grid, run: Mapping[str, Any]) -> None:
    """Run the federation that a run configuration names, over a grid.

    Parameters
    ----------
    grid : Grid
        Of a simulation if it says so itself (`simulated`): a setting has no say in that. One that
        knows its people says among what they are ranked (`protocol`).
    run : mapping
        See this module.

    Raises
    ------
    ConfigError
        If a key is missing, or what it names is wrong.
    """
    file, directory, name = (_given(run, key) for key in ("config", "directory", "name"))
    policy, config = _policy(run), from_dict(load_toml(Path(file)), source=file)
    files = run_files(Path(directory), name)
    simulated = getattr(grid, "simulated", False) is True
    with FolderLock(files.folder) as lock:
        if not simulated:  # one that outlived its SuperLink may still be at work; a sweep locks its
            lock.take(wait=True)
        outcome = run_federation(
            grid, config, files, simulated=simulated, on_round=report_round, policy=policy
        )
    log(INFO, "%s", _spent(files, config.federation.fixed_rounds))
    if simulated:
        known = getattr(grid, "protocol", None) or {"negatives": config.data.negatives}
        log(INFO, "%s", _ranked(outcome, negatives_in_words(known)))


def report_round(entry: dict[str, float]) -> None:
    """Pass a round's entry to the listener of this context; without one, log it.

    The log says which round and, where the evaluator measured it, how well it ranks; how many took
    part and the exact norms are not for a log that others read.
    """
    current = listener.get()
    if current is not None:
        current(entry)
        return
    metrics = [f"validation {name.upper()} {entry[name]:.3f}" for name in METRICS if name in entry]
    log(INFO, "%s", ", ".join([f"round {entry['round']:.0f} completed", *metrics]))


def _policy(run: Mapping[str, Any]) -> Path | int:
    if run.get("policy") and run.get("users"):
        raise ConfigError("run configuration: policy and users: give one; a policy names its users")
    return Path(str(run["policy"])) if run.get("policy") else int(run.get("users") or 0)


def _given(run: Mapping[str, Any], key: str) -> str:
    if not run.get(key):
        raise ConfigError(
            f"run configuration: {key!r} is missing; e.g. --run-config \"{key}='...'\""
        )
    return str(run[key])


def _spent(files: RunFiles, rounds: int) -> str:
    if not files.ledger.exists():
        return f"after {rounds} round(s): what was spent is on each device's own ledger"
    ledger = Ledger.open(files.ledger)
    header = ledger.header.guarantee
    loss, where = ledger.epsilon(), f"adapter {files.adapter}, ledger {files.ledger}"
    if math.isinf(loss):
        return f"after {rounds} round(s): nothing is protected, there was no noise; {where}"
    return (
        f"after {rounds} round(s): {header.unit}-level epsilon {loss:.3g} at delta "
        f"{header.delta:g} ({header.trust} trust); {where}"
    )


def _ranked(outcome: Mapping[str, Any], among: str) -> str:
    metrics = outcome["metrics"]
    ranked = ", ".join(f"{name} {metrics[name.lower()]:.3f}" for name in ("HR@10", "NDCG@10"))
    people = f"over {metrics['users']:.0f} people, {among}"
    return f"test {ranked} {people} (evaluator only, not released)"
