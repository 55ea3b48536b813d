"""`starling policy check` and `spent`: what a device would answer, and what it has spent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from client.device.agreement import (
    AGREED,
    CAPS,
    LEDGER,
    PARTICIPATION,
    Agreement,
    operator_key,
)
from client.device.rehearsal import Rehearsal
from shared.config import ExperimentConfig, from_dict, load_toml, settings_hash
from shared.errors import ConfigError, PrivacyError
from shared.privacy.ledger.budget import records
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.caps import load_caps
from shared.privacy.policy.show import in_words
from shared.privacy.policy.signed import Policy, load_policy, policy_text, read_policy


def check(
    file: Annotated[Path, typer.Argument(help="A signed policy.")],
    operator: Annotated[str, typer.Option(help="The key that the device's owner trusts, in hex.")],
    caps: Annotated[Path | None, typer.Option(help="The owner's caps.toml.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="A device's state folder: asked as it is now, not changed.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The point's settings, to recompute what it promises.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Ask as in so many rounds of the run.")] = 1,
    a_day: Annotated[
        int | None, typer.Option(min=1, help="So many requests a day; default: all today.")
    ] = None,
) -> None:
    """Answer as a device would, and exit with 0 if it takes part, 3 if it declines."""
    key = operator_key("--operator", operator)
    text = policy_text(file)
    made = read_policy(text, None)
    settings = None if config is None else _settings_of(made, config)
    with tempfile.TemporaryDirectory() as folder:
        device = Rehearsal(Path(folder), text, made, key, settings)
        device.copy(state, caps)
        typer.echo(f"owner's caps: {device.caps.in_words()}")
        for answer in device.answers(rounds, a_day):
            typer.echo(answer.words)
    if settings is None:
        typer.echo("(that the promises are what the settings give needs --config)")
    if not answer.accepted:
        raise typer.Exit(PrivacyError.exit_code)


def _settings_of(made: Policy, config: Path) -> ExperimentConfig:
    point = from_dict(load_toml(config), source=str(config))
    if settings_hash(point) != made.settings:
        raise ConfigError(
            f"{config}: not the settings of this policy; a run keeps them as points/NAME.toml"
        )
    return point


def spent(state: Annotated[Path, typer.Argument(help="A device's state folder.")]) -> None:
    """Say what a device agreed to, what its owner allows, and what taking part has cost."""
    if not state.is_dir():
        raise ConfigError(f"{state}: there is no such folder; give a device's state folder")
    typer.echo(f"owner's caps: {load_caps(state / CAPS).in_words()}")
    if not (state / AGREED).exists():
        typer.echo(f"{state}: this device has agreed to nothing yet")
        return
    made = load_policy(state / AGREED, None)
    typer.echo(in_words(made, state / AGREED))
    for file in (each for name in (PARTICIPATION, LEDGER) for each in records(state / name)):
        ledger = Ledger.open(file)
        header = ledger.header.guarantee
        typer.echo(
            f"{file.name}: {len(ledger)} entries, {header.unit}-level epsilon "
            f"{ledger.epsilon():.4g} at delta {header.delta:g} ({header.trust} trust); "
            f"against {header.adversary}"
        )
    gate = Agreement(state, made.issuer)
    for promise in made.promises:
        epsilon, delta = gate.spent(promise)
        unit = promise.guarantee.unit
        typer.echo(f"all together: {unit}-level epsilon {epsilon:.4g} at delta {delta:g}")
