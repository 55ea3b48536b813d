"""`starling policy`: make one, read one, and what a device would answer to it."""

from __future__ import annotations

import math
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from client.agreement import AGREED, CAPS, LEDGER, PARTICIPATION
from shared.config import ExperimentConfig, from_dict, load_toml
from shared.errors import ConfigError, PrivacyError
from shared.files import write_atomically
from shared.privacy.caps import load_caps
from shared.privacy.issue import DAYS, policy_of
from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.ledger import Ledger
from shared.privacy.policy import policy_digest, policy_hash
from shared.privacy.signed_policy import (
    Policy,
    PromisedRelease,
    load_policy,
    policy_text,
    read_policy,
    signed,
)
from simulations.rehearsal import Rehearsal
from simulations.settings import override, preset_file

policy = typer.Typer(
    no_args_is_help=True, help="Make and read signed policies, and ask what a device would say."
)

_File = Annotated[Path, typer.Argument(help="A signed policy.")]


@policy.command()
def key() -> None:
    """Print the operator's public key: what devices are configured with."""
    typer.echo(public_hex(load_or_create_signing_key()))


@policy.command()
def make(
    out: Annotated[Path, typer.Option(help="The file to write.")],
    config: Annotated[Path | None, typer.Option(help="Settings, a TOML file.")] = None,
    preset: Annotated[str | None, typer.Option(help="Committed settings by name.")] = None,
    data: Annotated[str | None, typer.Option(help="world, a known name, or a path.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Budget of the point.")] = None,
    users: Annotated[int | None, typer.Option(min=1, help="How many clients there are.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the point.")] = 0,
    adapter: Annotated[
        Path | None,
        typer.Option(
            help="The run's initial adapter, where the server has no data: --config is then the "
            "point's own file, as it stands."
        ),
    ] = None,
    days: Annotated[float, typer.Option(help="How long it holds, from now.")] = DAYS,
) -> None:
    """Sign the policy of one point, before its run."""
    if out.exists():
        raise ConfigError(f"--out {out}: is there already, and a run may rest on it; give another")
    if adapter is not None:
        point, schema, population = _as_given(config, adapter, users)
        point = point if epsilon is None else point.at_epsilon(epsilon, seed)
    else:
        point, schema, population = _opened(config, preset, data, users, epsilon, seed)
    operator = load_or_create_signing_key()
    start = datetime.now(UTC)
    made = policy_of(point, population, schema, public_hex(operator), start, days)
    try:
        write_atomically(out, signed(made, operator) + "\n")
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from None
    _print(made, out)
    if not math.isfinite(point.privacy.epsilon):
        typer.echo(
            "warning: epsilon is infinite: this policy promises no privacy, and every device "
            'declines but those whose owner wrote epsilon = "inf" into caps.toml',
            err=True,
        )


def _as_given(
    config: Path | None, adapter: Path, users: int | None
) -> tuple[ExperimentConfig, str, int]:
    from safetensors.numpy import load_file

    from shared.model.adapter import AdapterSchema  # torch enters here

    if config is None or users is None:
        raise ConfigError("--adapter: give --config, the point's settings, and --users with it")
    try:
        arrays = load_file(adapter)
    except Exception as error:  # safetensors: an exception of its own that is no OSError
        raise ConfigError(f"--adapter {adapter}: cannot be read ({error})") from None
    return (
        from_dict(load_toml(config), source=str(config)),
        AdapterSchema.of_arrays(arrays).digest,
        users,
    )


def _opened(
    config: Path | None,
    preset: str | None,
    data: str | None,
    users: int | None,
    epsilon: float | None,
    seed: int,
) -> tuple[ExperimentConfig, str, int]:
    """A point as `starling simulate` fills it in: digests of data and weights, the adapter."""
    if config is not None and preset is not None:
        raise ConfigError("--config and --preset: give one of them")
    if epsilon is None:
        raise ConfigError("--epsilon: missing; the budget of the point, such as --epsilon 8")
    from simulations.workbench import Workbench  # torch enters here

    flags = {"data.spec": data, "data.users": users}
    given = {name: value for name, value in flags.items() if value is not None}
    bench = Workbench(override(load_toml(config or preset_file(preset or "default")), given))
    point = bench.config.at_epsilon(epsilon, seed)
    return point, bench.engine(point.model).schema.digest, len(bench.population)


@policy.command()
def show(file: _File) -> None:
    """Say in words what a policy promises; its signature is checked against its own issuer."""
    _print(load_policy(file, None), file)


@policy.command()
def check(
    file: _File,
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
    text = policy_text(file)
    made = read_policy(text, None)
    settings = None if config is None else _settings_of(made, config)
    with tempfile.TemporaryDirectory() as folder:
        device = Rehearsal(Path(folder), text, made, operator.lower(), settings)
        device.copy(state, caps)
        for answer in device.answers(rounds, a_day):
            typer.echo(answer.words)
    if settings is None:
        typer.echo("(that the promises are what the settings give needs --config)")
    if not answer.accepted:
        raise typer.Exit(PrivacyError.exit_code)


def _settings_of(made: Policy, config: Path) -> ExperimentConfig:
    point = from_dict(load_toml(config), source=str(config))
    if policy_hash(point) != made.settings:
        raise ConfigError(
            f"{config}: not the settings of this policy; a run keeps them as points/NAME.toml"
        )
    return point


@policy.command()
def spent(state: Annotated[Path, typer.Argument(help="A device's state folder.")]) -> None:
    """Say what a device agreed to, what its owner allows, and what taking part has cost."""
    if not (state / AGREED).exists():
        typer.echo(f"{state}: this device has agreed to nothing yet")
        return
    _print(load_policy(state / AGREED, None), state / AGREED)
    allowed = load_caps(state / CAPS)
    typer.echo("owner's caps: " + ", ".join(f"{k} = {v}" for k, v in vars(allowed).items()))
    for name in (PARTICIPATION, LEDGER):
        if (state / name).exists():
            ledger = Ledger.open(state / name)
            header = ledger.header
            typer.echo(
                f"{name}: {len(ledger)} entries, {header.unit}-level epsilon "
                f"{ledger.epsilon():.4g} at delta {header.delta:g} ({header.trust} trust); "
                f"against {header.adversary}"
            )


def _print(made: Policy, file: Path) -> None:
    def line(text: str) -> None:
        typer.echo("".join(letter if letter.isprintable() else "?" for letter in text))

    line(f"{file}: policy {policy_digest(policy_text(file))[:16]} of operator {made.issuer}")
    line(
        f"holds from {made.valid_from} until {made.valid_until}{_now(made)}; "
        f"settings {made.settings[:16]}"
    )
    line(
        f"{made.rounds} rounds among {made.users} users; of one person at most {made.windows} "
        f"windows of {made.window_length} interactions in an update; "
        f"aggregation {made.aggregation}; adapter {made.schema[:16]}"
    )
    for promise in made.promises:
        line(
            f"{promise.unit}-level epsilon {promise.epsilon:g} at delta {promise.delta:g}, "
            f"{promise.trust} trust, {promise.relation}, groups of {promise.group}, "
            f"against {promise.adversary}"
        )
        for release in promise.releases:
            line(
                f"  {release.kind}: at most {release.times} times, {release.mechanism}, noise "
                f"multiplier {release.noise_multiplier:.4g}, clipping norm {_clip(release)}"
            )


def _now(made: Policy) -> str:
    """What today's date says of it; nothing while it holds."""
    now = datetime.now(UTC)
    if now < made.from_time:
        return " (NOT YET: devices decline)"
    return " (EXPIRED: devices decline)" if now >= made.until_time else ""


def _clip(release: PromisedRelease) -> str:
    norm = f"{release.clipping_norm:.4g}"
    if "adaptive" not in release.mechanism:
        return norm
    return f"{norm} in the first round, then adapting, at most 1000 times that"
