"""`starling policy make`: the policy of one point, its settings filled in as a run would."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from shared.config import ExperimentConfig, at_epsilon, from_dict, load_toml
from shared.config.presets import override, preset_file
from shared.errors import ConfigError
from shared.files import write_atomically
from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.policy.issue import DAYS, policy_of
from shared.privacy.policy.show import in_words
from shared.privacy.policy.signed import signed


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
        point = point if epsilon is None else at_epsilon(point, epsilon, seed)
    else:
        point, schema, population = _opened(config, preset, data, users, epsilon, seed)
    operator = load_or_create_signing_key()
    start = datetime.now(UTC)
    made = policy_of(point, population, schema, public_hex(operator), start, days)
    try:
        write_atomically(out, signed(made, operator) + "\n")
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from None
    typer.echo(in_words(made, out))
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
    from simulations.engine.workbench import Workbench  # torch enters here

    flags = {"data.spec": data, "data.users": users}
    given = {name: value for name, value in flags.items() if value is not None}
    bench = Workbench(override(load_toml(config or preset_file(preset or "default")), given))
    point = at_epsilon(bench.config, epsilon, seed)
    return point, bench.engine(point.model).schema.digest, len(bench.population)
