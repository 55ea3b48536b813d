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
from client.device.rehearsal import Answer, Rehearsal, no_state
from shared.config import ExperimentConfig, from_dict, load_toml, settings_hash
from shared.errors import ConfigError, PrivacyError
from shared.printable import printable
from shared.privacy.ledger.budget import records
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.caps import load_caps
from shared.privacy.policy.show import in_words
from shared.privacy.policy.signed import Policy, Promise, load_policy, policy_text, read_policy


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
    rounds: Annotated[
        int, typer.Option(min=1, help="Ask as in so many rounds, from the next one on.")
    ] = 1,
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
        answer = Answer(True, "nothing more can be asked of this device in this run")
        answers = [answer, *device.answers(rounds, a_day)]
    for answer in answers[1:] or answers:
        typer.echo(answer.words)
    if settings is None:
        typer.echo("(taken at its word: that the settings give these promises needs --config)")
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
        raise no_state(state)
    typer.echo(f"owner's caps: {load_caps(state / CAPS).in_words()}")
    made = load_policy(state / AGREED, None) if (state / AGREED).exists() else None
    kept = [each for name in (PARTICIPATION, LEDGER) for each in records(state / name)]
    if made:
        typer.echo(in_words(made, state / AGREED))
    else:
        word = f"no {AGREED} is here" if kept else "this device has agreed to nothing yet"
        typer.echo(f"{printable(state)}: {word}")
    counted = {promise.guarantee.trust: promise for promise in (made.promises if made else ())}
    for file in kept:
        ledger = Ledger.recover(file, repair=False)
        header = ledger.header.guarantee
        counted.setdefault(header.trust, Promise(header, ()))  # where no agreement says it
        typer.echo(
            f"{file.name}: {len(ledger)} entries, {header.unit}-level epsilon "
            f"{ledger.epsilon():.4g} at delta {header.delta:g} ({header.trust} trust); "
            f"against {header.adversary}"
        )
    gate = Agreement(state, made.issuer if made else "")
    for promise in counted.values():
        epsilon, delta = gate.spent(promise)
        unit = promise.guarantee.unit
        typer.echo(f"all together: {unit}-level epsilon {epsilon:.4g} at delta {delta:g}")
