"""The Flower ServerApp: reads its settings, builds, starts.

Run configuration: `config` (a TOML file of one point's settings), `directory` (where the run's
files are; `initial.safetensors` must be there), `name` (of the point), `simulated`.
"""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.federation import RunFiles, run_federation
from server.progress import report_round
from shared.config import from_dict, load_toml
from shared.errors import ConfigError

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation that the run configuration names."""
    run = context.run_config
    try:
        file, directory, name = Path(str(run["config"])), Path(str(run["directory"])), run["name"]
    except KeyError as error:
        raise ConfigError(f"run configuration: {error} is missing") from None
    config = from_dict(load_toml(file), source=str(file))
    run_federation(
        grid,
        config,
        run_files(directory, str(name)),
        simulated=bool(run.get("simulated", False)),
        on_round=report_round,
    )


def run_files(directory: Path, name: str) -> RunFiles:
    """The files of a point named `name` in a run's directory."""
    return RunFiles(
        initial=directory / "points" / f"{name}.initial.safetensors",
        ledger=directory / f"ledger-{name}.jsonl",
        checkpoint=directory / "points" / f"{name}.checkpoint",
        adapter=directory / "adapters" / f"{name}.safetensors",
        outcome=directory / "points" / f"{name}.outcome.json",
    )
