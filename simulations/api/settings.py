"""From options to the settings of an experiment, and the folder that it is run in."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.config import ExperimentConfig, at_epsilon, from_dict, load_toml
from shared.config.presets import override, preset_file
from shared.errors import ConfigError
from shared.run_files import RunFolder, no_run
from simulations.api.options import Options, settings

PRESET = "default"
"""What a run without settings of its own begins from."""


def experiment_of(options: Options) -> tuple[ExperimentConfig, Path, bool]:
    """What options ask for.

    Returns
    -------
    experiment : ExperimentConfig
    folder : Path
        Where it is run.
    resume : bool
        Whether what is there is continued.

    Raises
    ------
    ConfigError
        If two of them contradict each other, or a setting is wrong.
    """
    given: Mapping[str, Any] = options
    resume, out, begins = given.get("resume") or None, given.get("out"), ("config", "preset")
    if resume is True:
        if out is None:
            raise ConfigError("--resume True: give the folder that may hold the run: --out")
        experiment = _begun(RunFolder(Path(out)), _given(options, None))
        return experiment, Path(out), RunFolder(Path(out)).settings.exists()
    if resume is not None and out is not None:
        raise ConfigError("--out and --resume: give one; --resume continues in its own folder")
    if sum(given.get(name) is not None for name in (*begins, "resume")) > 1:
        raise ConfigError("--config, --preset and --resume: give one of them")
    experiment = _given(options, None if resume is None else Path(resume))
    folder = resume or out or Path("runs") / _default_name(experiment)
    return experiment, Path(folder), resume is not None


def never(experiment: ExperimentConfig) -> list[str]:
    """What is asked for and will not come, one line each."""
    finite = [epsilon for epsilon in experiment.sweep.epsilons if math.isfinite(epsilon)]
    for epsilon in finite[:1]:  # the others have the same rounds
        point = at_epsilon(experiment, epsilon, 0)
        every, rounds = point.federation.metrics_every, point.federation.rounds
        if isinstance(rounds, int) and every and every >= rounds and point.privacy.metrics_share:
            told = f"federation.metrics_every = {every} with federation.rounds = {rounds}"
            return [f"{told}: metrics are released at the end alone"]
    return []


def _given(options: Options, resume: Path | None) -> ExperimentConfig:
    """Settings as a file has them, with those replaced that options name."""
    given: Mapping[str, Any] = options
    config, preset = given.get("config"), given.get("preset")
    tree = begins_from(
        None if config is None else Path(config),
        preset,
        resume,
        given.get("trust"),
        given.get("mechanism"),
    )
    flags = {
        setting: _plain(name, given[name])
        for name, setting in settings().items()
        if given.get(name) is not None
    }
    if given.get("start") is not None or given.get("start_is_public"):
        from shared.model.start import started_from  # torch enters here

        flags |= started_from(flags.get("model.start"), bool(given.get("start_is_public")))
    return override(tree, flags, preset=config is None and resume is None)


def begins_from(
    config: Path | None,
    preset: str | None,
    resume: Path | None,
    trust: str | None,
    mechanism: str | None,
) -> dict[str, Any]:
    """The nested settings that options replace some of; a `ConfigError` if there are none."""
    if resume is not None:
        file = RunFolder(resume).settings
        if not file.is_file():
            raise ConfigError(f"--resume {resume}: {no_run(resume, file.name)}")
    else:
        # Noise on every device is far more noise: what is trained under it is another model.
        # Correlated noise needs its own schedule.
        usual = "local" if trust == "local" else PRESET
        usual = mechanism if mechanism == "dp_ftrl" else usual
        file = config or preset_file(preset or usual)
    tree = load_toml(file)
    if not tree and resume is None:  # what a run was begun with is compared, not judged
        raise ConfigError(f"{file}: holds no setting; --preset {PRESET} is what a run begins from")
    from_dict(tree, source=str(file))  # its own mistakes, before flags replace anything
    return tree


def _begun(run: RunFolder, experiment: ExperimentConfig) -> ExperimentConfig:
    """With what a run filled in when it began, if it did: digests of its items and weights."""
    if not run.settings.is_file():
        return experiment
    saved = from_dict(load_toml(run.settings), str(run.settings))
    data, model = experiment.data, experiment.model
    filled = data.catalogue or saved.data.catalogue
    names = ("backbone_sha256", "items_sha256", "start_sha256")
    weights = {name: getattr(model, name) or getattr(saved.model, name) for name in names}
    return dataclasses.replace(
        experiment,
        data=dataclasses.replace(data, catalogue=filled),
        model=dataclasses.replace(model, **weights),
    )


def _plain(name: str, value: Any) -> Any:
    """As a file of settings would hold it: no paths, arrays or numbers of other libraries."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numpy and pandas
        value = value.tolist()
    if name == "epsilon" and isinstance(value, int | float):
        return [value]
    if name == "references" and isinstance(value, str):
        return [value]
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return value
    return [_plain("", each) for each in value]


def _default_name(experiment: ExperimentConfig) -> str:
    """Of the data's file or folder, wherever `.`, `..` or a link leads; never a way elsewhere."""
    path = Path(experiment.data.spec).resolve()
    return path.stem if path.stem.strip(".") else "run"
