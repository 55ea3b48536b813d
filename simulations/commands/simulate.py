"""`starling simulate`: flags over settings; heavy imports wait until they were read."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.config import ExperimentConfig, at_epsilon, from_dict, load_toml
from shared.config.presets import override, preset_file
from shared.errors import ConfigError
from shared.run_files import RunFolder
from simulations.commands.lists import numbers, words


def simulate(
    data: Annotated[str | None, typer.Option(help="world, a known name, or a path.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings, a TOML file.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Committed settings by name, such as default or local.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="cohort | sequential | ray")] = None,
    unit: Annotated[str | None, typer.Option(help="What is hidden: user | example | both")] = None,
    trust: Annotated[
        str | None, typer.Option(help="Who adds noise: central | distributed | local")
    ] = None,
    mechanism: Annotated[
        str | None, typer.Option(help="Noise over the rounds: gaussian | dp_ftrl")
    ] = None,
    epsilon: Annotated[str | None, typer.Option(help="Budgets, such as 1,2,4,8,inf.")] = None,
    delta: Annotated[float | None, typer.Option(help="Of the guarantee, in (0, 1).")] = None,
    clipping_norm: Annotated[
        float | None, typer.Option(help="Of a person's update; its first value where it adapts.")
    ] = None,
    adaptive_clipping: Annotated[
        float | None, typer.Option(help="Quantile of norms that the clip follows; 0: fixed.")
    ] = None,
    metrics_share: Annotated[
        float | None, typer.Option(help="Of the budget, for metrics from devices; 0: none.")
    ] = None,
    metrics_every: Annotated[
        int | None, typer.Option(help="Rounds between them; 0: of the released adapter alone.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of every point.")] = None,
    cohort: Annotated[
        float | None, typer.Option(help="Expected users a round; up to 1 is a share of all.")
    ] = None,
    users: Annotated[int | None, typer.Option(help="Only the first N users.")] = None,
    aggregation: Annotated[
        str | None,
        typer.Option(
            help="fedit | ffa | alternating | fedsvd | fedsb | fedsa | flexlora | principal; "
            "what each does is in docs/aggregation.md."
        ),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 0,1,2.")] = None,
    references: Annotated[
        str | None, typer.Option(help="Such as popularity,zero_shot; none for none.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="minilm, a folder, or id@revision.")] = None,
    layers: Annotated[int | None, typer.Option(help="Keep the first N layers; 0: all.")] = None,
    device: Annotated[str | None, typer.Option(help="auto | cpu | cuda | mps")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 | bf16, of the backbone.")] = None,
    micro_batch: Annotated[int | None, typer.Option(help="Clients trained at once.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; cohort: from 2 on, ray: 0 chooses.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Workers on a running Ray cluster: auto | host:port")
    ] = None,
    cpus_per_client: Annotated[int | None, typer.Option(help="Cores of each of them.")] = None,
    gpus_per_client: Annotated[
        float | None, typer.Option(help="Share of a GPU of each, such as 0.25.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for everything made.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.")] = None,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Draw accuracy against privacy budget over virtual clients."""
    if resume is not None and out is not None:
        raise ConfigError("--out and --resume: give one; --resume continues in its own folder")
    chosen = [name for name in (config, preset, resume) if name is not None]
    if len(chosen) > 1:
        raise ConfigError("--config, --preset and --resume: give one of them")
    tree = _settings(config, preset, resume, trust, mechanism)
    flags: dict[str, Any] = {
        "data.spec": data,
        "data.users": users,
        "engine.engine": engine,
        "engine.device": device,
        "engine.dtype": dtype,
        "engine.micro_batch": micro_batch,
        "engine.workers": workers,
        "engine.address": ray_address,
        "engine.cpus_per_client": cpus_per_client,
        "engine.gpus_per_client": gpus_per_client,
        "privacy.unit": unit,
        "privacy.trust": trust,
        "privacy.mechanism": mechanism,
        "privacy.delta": delta,
        "privacy.clipping_norm": clipping_norm,
        "privacy.adaptive_clipping": adaptive_clipping,
        "privacy.metrics_share": metrics_share,
        "federation.metrics_every": metrics_every,
        "federation.rounds": rounds,
        "federation.cohort": cohort,
        "federation.aggregation": aggregation,
        "model.backbone": backbone,
        "model.layers": layers,
        "sweep.epsilons": None if epsilon is None else numbers("--epsilon", epsilon, float),
        "sweep.seeds": None if seeds is None else numbers("--seeds", seeds, int),
        "sweep.references": None if references is None else words(references),
    }
    experiment = override(tree, {key: value for key, value in flags.items() if value is not None})
    _tell_what_never_comes(experiment)
    _run(
        experiment,
        resume or out or Path("runs") / _default_name(experiment),
        resume is not None,
        quiet,
    )


def _tell_what_never_comes(experiment: ExperimentConfig) -> None:
    finite = [epsilon for epsilon in experiment.sweep.epsilons if math.isfinite(epsilon)]
    for epsilon in finite[:1]:  # the others have the same rounds
        point = at_epsilon(experiment, epsilon, 0)
        every, rounds = point.federation.metrics_every, point.federation.rounds
        if every >= rounds and point.privacy.metrics_share:
            typer.echo(
                f"warning: federation.metrics_every = {every} with federation.rounds = {rounds}: "
                "metrics are released at the end alone",
                err=True,
            )


def _run(experiment: ExperimentConfig, directory: Path, resume: bool, quiet: bool) -> None:
    from simulations.report.outcome import print_outcome
    from simulations.sweep.sweep import run_sweep  # torch and Flower enter here

    logging.getLogger("flwr").setLevel(logging.WARNING)  # progress tells what its log would
    print_outcome(run_sweep(experiment, directory, resume=resume, quiet=quiet), directory)


def _settings(
    config: Path | None,
    preset: str | None,
    resume: Path | None,
    trust: str | None,
    mechanism: str | None,
) -> dict[str, Any]:
    if resume is not None:
        file = RunFolder(resume).settings
        if not file.is_file():
            raise ConfigError(f"--resume {resume}: holds no run (no {file.name})")
    else:
        # Noise on every device is far more noise: what is trained under it is another model.
        # Correlated noise needs its own schedule.
        usual = "local" if trust == "local" else "default"
        usual = mechanism if mechanism == "dp_ftrl" else usual
        file = config or preset_file(preset or usual)
    tree = load_toml(file)
    from_dict(tree, source=str(file))  # its own mistakes, before flags replace anything
    return tree


def _default_name(experiment: ExperimentConfig) -> str:
    return Path(experiment.data.spec).stem or "run"
