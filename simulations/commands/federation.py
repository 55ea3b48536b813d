"""`starling federation up`: server, SuperNodes and devices on this machine, for demo and tests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from simulations.commands.options import takes


@dataclass(frozen=True)
class Asked:
    """The options of `starling federation up`."""

    clients: Annotated[int, typer.Option(min=2, max=64, help="Devices, of one person each.")]
    data: Annotated[str, typer.Option(help="world, a known name, or a path.")] = "world"
    rounds: Annotated[int, typer.Option(min=0, max=1000, help="Rounds of training.")] = 2
    epsilon: Annotated[float, typer.Option(help="Budget of the run; inf: without noise.")] = 4.0
    out: Annotated[Path | None, typer.Option(help="A new folder for everything made.")] = None
    users: Annotated[
        str, typer.Option(help="Whose devices, with commas; default: by the smallest keys.")
    ] = ""
    config: Annotated[Path | None, typer.Option(help="Settings, a TOML file.")] = None
    preset: Annotated[str | None, typer.Option(help="Committed settings; default: demo.")] = None


@takes(Asked)
def up(asked: Asked) -> None:
    """Run a real federation on this machine: TLS, node authentication, secure sums, processes."""
    import tempfile
    from datetime import datetime

    from shared.errors import ConfigError
    from shared.printable import printable
    from simulations.loopback.federation import Federation, Settings
    from simulations.loopback.people import opened

    epsilon, config, preset = asked.epsilon, asked.config, asked.preset
    if not epsilon > 0:
        raise ConfigError(f"--epsilon {epsilon:g}: expected a number above 0, or inf")
    folder = asked.out or Path("runs") / f"federation-{datetime.now():%Y%m%d-%H%M%S}"
    options = ["--config", str(config)] if config else []
    options += ["--preset", preset] if preset else []
    named = tuple(name.strip() for name in asked.users.split(",") if name.strip())
    settings = Settings(asked.clients, asked.rounds, epsilon, named, tuple(options))
    federation = Federation(folder, settings, lambda line: typer.echo(printable(line)))
    with tempfile.TemporaryDirectory() as place:
        log = opened(asked.data, Path(place) / "world")
    federation.run(log)
    noise = "no noise: nothing is protected" if math.isinf(epsilon) else f"epsilon {epsilon:g}"
    typer.echo(f"done, {noise}; everything is in {printable(folder)}")
