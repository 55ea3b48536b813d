"""`starling policy make`: the policy of one point, its settings filled in as a run would."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.canonical import document
from shared.errors import ConfigError
from shared.files import check_file, write_atomically
from shared.printable import printable
from simulations.commands.options import presets, sources, takes

if TYPE_CHECKING:
    from shared.config import ExperimentConfig


@dataclass(frozen=True)
class Asked:
    """The options of `starling policy make`."""

    out: Annotated[Path, typer.Option(help="The file to write.")]
    config: Annotated[Path | None, typer.Option(help="Settings, a TOML file.")] = None
    preset: Annotated[
        str | None, typer.Option(help="Committed settings by name.", autocompletion=presets)
    ] = None
    data: Annotated[
        str | None, typer.Option(help="world, a known name, or a path.", autocompletion=sources)
    ] = None
    columns: Annotated[
        str | None, typer.Option(help="What its files call them: user=userId,item=movieId.")
    ] = None
    epsilon: Annotated[float | None, typer.Option(help="Budget of the point.")] = None
    users: Annotated[
        int | None, typer.Option(min=1, help="People that it rests on; so many must be connected.")
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Of the point.")] = 0
    adapter: Annotated[
        Path | None,
        typer.Option(
            help="The run's initial adapter, where the server has no data: --config is then the "
            "point's own file, as it stands."
        ),
    ] = None
    days: Annotated[
        float | None, typer.Option(help="How long it holds, from now; default: as a server's own.")
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False


@takes(Asked, {"data": "data.spec"})
def make(asked: Asked) -> None:
    """Sign the policy of one point, before its run."""
    from client.device.agreement import in_clear
    from shared.config import at_epsilon, dump_toml
    from shared.privacy.keys import load_or_create_signing_key, public_hex
    from shared.privacy.policy.caps import Caps
    from shared.privacy.policy.issue import DAYS, policy_of
    from shared.privacy.policy.show import in_words, plain
    from shared.privacy.policy.signed import signed

    out, adapter, epsilon, seed = asked.out, asked.adapter, asked.epsilon, asked.seed
    if out.exists():
        raise ConfigError(f"--out {out}: is there already, and a run may rest on it; give another")
    if adapter is not None:
        point, schema, population = _as_given(asked, adapter)
        point = point if epsilon is None else at_epsilon(point, epsilon, seed)
    else:
        point, schema, population = _opened(asked)
    days = DAYS if asked.days is None else asked.days
    operator = load_or_create_signing_key()
    start = datetime.now(UTC)
    made = policy_of(point, population, schema, public_hex(operator), start, days)
    settings = out.with_suffix(".toml")
    try:
        write_atomically(out, signed(made, operator) + "\n")
        if adapter is None and not settings.exists():
            write_atomically(settings, dump_toml(point))
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from None
    if asked.as_json:
        kept = None if adapter is not None else str(settings)
        typer.echo(document({"file": str(out), "settings_file": kept, **plain(made)}))
    else:
        typer.echo(in_words(made, out))
    if adapter is None and not asked.as_json:
        typer.echo(f"settings, for policy check --config: {printable(settings)}")
    for why in Caps().objections(made):
        typer.echo(
            f"warning: {why}: every device declines but those whose owner allows it in caps.toml",
            err=True,
        )
    asked_for = [release.kind for promise in made.promises for release in promise.releases]
    for why in {in_clear(kind, made.promises) for kind in asked_for} - {""}:
        typer.echo(f"warning: every real device declines: {why}", err=True)


def _as_given(asked: Asked, adapter: Path) -> tuple[ExperimentConfig, str, int]:
    from safetensors.numpy import load_file

    from shared.config import from_dict, load_toml
    from shared.model.adapter import AdapterSchema  # torch enters here

    if asked.config is None or asked.users is None:
        raise ConfigError("--adapter: give --config, the point's settings, and --users with it")
    try:
        check_file(adapter)
        arrays = load_file(adapter)
    except Exception as error:  # safetensors: an exception of its own that is no OSError
        raise ConfigError(f"--adapter {adapter}: cannot be read ({error})") from None
    point = from_dict(load_toml(asked.config), source=str(asked.config))
    return point, AdapterSchema.of_arrays(arrays).digest, asked.users


def _opened(asked: Asked) -> tuple[ExperimentConfig, str, int]:
    """A point as `starling simulate` fills it in: digests of data and weights, the adapter."""
    from shared.config import at_epsilon, load_toml
    from shared.config.presets import override, preset_file

    if asked.config is not None and asked.preset is not None:
        raise ConfigError("--config and --preset: give one of them")
    if asked.epsilon is None:
        raise ConfigError("--epsilon: missing; the budget of the point, such as --epsilon 8")
    from simulations.engine.simulation import Simulation  # torch enters here

    flags = {"data.spec": asked.data, "data.columns": asked.columns, "data.users": asked.users}
    given = {name: value for name, value in flags.items() if value is not None}
    tree = load_toml(asked.config or preset_file(asked.preset or "default"))
    simulation = Simulation(override(tree, given, preset=asked.config is None))
    point = at_epsilon(simulation.config, asked.epsilon, asked.seed)
    return point, simulation.engine(point.model).schema.digest, len(simulation.population)
