"""Accuracy against privacy budget: every epsilon, every seed, and the reference points."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from shared.config import ExperimentConfig, dump_toml, from_dict, load_toml, to_dict
from shared.data.split import MIN_EVALUATED
from shared.errors import ConfigError
from shared.files import write_atomically
from shared.privacy.plan import device_plan, server_plan
from simulations.point import run_point
from simulations.progress import SweepProgress
from simulations.references import REFERENCES, planned_updates
from simulations.report import draw_curve, write_report
from simulations.workbench import Workbench

_PACKAGES = ("torch", "flwr", "transformers", "peft", "opacus", "dp-accounting", "numpy")


def run_sweep(
    config: ExperimentConfig, directory: Path, *, resume: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Run a whole experiment into a folder; what was completed there before is kept.

    Parameters
    ----------
    config : ExperimentConfig
    directory : Path
        New or empty, unless `resume`.

    Returns
    -------
    dict
        What results.json holds.

    Raises
    ------
    ConfigError
        If the folder holds another experiment, or one and `resume` is false, or a setting does
        not fit the data. Nothing was made then.
    """
    _refuse_another(config, directory, resume)
    with Workbench(config) as bench:
        if config.engine.engine == "ray":
            bench.ray()  # a machine too small for it is an error now, not after the references
        return _run(bench, directory, quiet)


def _run(bench: Workbench, directory: Path, quiet: bool) -> dict[str, Any]:
    config = bench.config  # with the digests of data and weights
    settings = _points(config, bench)
    results = _opening(config, bench)
    _prepare(config, directory)
    _write(results, directory)
    references = config.sweep.references
    users = len(bench.population)
    work = [planned_updates(name, config, len(bench.evaluated)) for name in references]
    work += [_planned_updates(point, users) for point in settings]
    with SweepProgress(sum(work), quiet=quiet) as progress:
        for name in references:
            progress.point(name.replace("_", " "))
            results["references"][name] = _reference(name, bench, config, directory, progress)
            progress.reach(sum(work[: len(results["references"])]))
        for point in settings:
            progress.point(f"epsilon {point.privacy.epsilon:g}, seed {point.seed}")
            results["points"].append(
                run_point(bench, point, directory, lambda entry: _tell(entry, progress))
            )
            progress.reach(sum(work[: len(references) + len(results["points"])]))
            _write(results, directory)
    results["complete"] = True
    _write(results, directory)
    draw_curve(_finite(results), directory / "curve.png")
    write_report(_finite(results), directory)
    return results


def _planned_updates(point: ExperimentConfig, users: int) -> int:
    return round(point.federation.rounds * point.federation.expected_cohort(users))


def _refuse_another(config: ExperimentConfig, directory: Path, resume: bool) -> None:
    saved = directory / "config.toml"
    if not saved.exists():
        return
    if not resume:
        raise ConfigError(
            f"{directory}: holds a run already; continue it with --resume {directory}, "
            "or choose another --out"
        )
    if from_dict(load_toml(saved), str(saved)) != config:
        raise ConfigError(f"{saved}: differs from these settings; choose another --out")


def _points(config: ExperimentConfig, bench: Workbench) -> list[ExperimentConfig]:
    """The settings of every point; what cannot run is refused before anything runs."""
    for name, values in (("epsilons", config.sweep.epsilons), ("seeds", config.sweep.seeds)):
        if not values or len(set(values)) < len(values):
            raise ConfigError(f"sweep.{name} = {list(values)}: give at least one, and each once")
    points = [
        config.at_epsilon(epsilon, seed)
        for seed in config.sweep.seeds
        for epsilon in config.sweep.epsilons
    ]
    for point in points:
        _refuse_impossible(point, len(bench.population))
        bench.engine(point.model)
    return points


def _refuse_impossible(point: ExperimentConfig, users: int) -> None:
    """Plan now (cached): a budget that no noise meets is refused before hours of work."""
    server_plan(point, users)
    device_plan(point, users)


def _prepare(config: ExperimentConfig, directory: Path) -> None:
    saved = directory / "config.toml"
    try:
        for folder in (directory, directory / "points", directory / "adapters"):
            folder.mkdir(parents=True, exist_ok=True)
        if not saved.exists():
            saved.write_text(dump_toml(config), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written ({error.strerror})") from None


def _opening(config: ExperimentConfig, bench: Workbench) -> dict[str, Any]:
    population = bench.population
    evaluated = sum(len(population.history(user)) >= MIN_EVALUATED for user in bench.evaluated)
    return {
        "schema": 1,
        "starling": importlib.metadata.version("starling"),
        "complete": False,
        "data": {
            "spec": config.data.spec,
            "name": population.name,
            "users": len(population),
            "items": len(population.catalogue),
            "interactions": population.interactions,
            "digest": population.digest,
            "evaluated_users": evaluated,
            "negatives": config.data.negatives,
        },
        "config": to_dict(config),
        "environment": _environment(bench),
        "points": [],
        "references": {},
    }


def _environment(bench: Workbench) -> dict[str, Any]:
    versions = {name.replace("-", "_"): importlib.metadata.version(name) for name in _PACKAGES}
    return versions | {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(bench.engine(bench.config.model).device),
        "dtype": bench.config.engine.dtype,
        "checkpointing": bench.config.engine.checkpointing,
        "backbone_sha256": bench.backbone_digest,
    }


def _reference(
    name: str, bench: Workbench, config: ExperimentConfig, directory: Path, progress: SweepProgress
) -> dict[str, Any]:
    file = directory / "points" / f"reference-{name}.json"
    if file.exists():
        done: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return done
    started = time.monotonic()
    found = REFERENCES[name](bench, config, progress.advance)
    found["seconds"] = time.monotonic() - started
    found["metrics_status"] = "evaluator only, not released"
    write_atomically(file, json.dumps(found))
    return found


def _tell(entry: dict[str, float], progress: SweepProgress) -> None:
    if "hr@10" in entry:  # a second word on a round that was counted already
        progress.advance(0, f"validation HR@10 {entry['hr@10']:.3f}")
    else:
        progress.advance(int(entry["participants"]), f"round {entry['round']:.0f}")


def _write(results: dict[str, Any], directory: Path) -> None:
    text = json.dumps(_finite(results), indent=1, allow_nan=False)
    write_atomically(directory / "results.json", text)


def _finite(value: Any) -> Any:
    """The value with infinity as the string "inf", which JSON can hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return "inf" if isinstance(value, float) and math.isinf(value) else value
