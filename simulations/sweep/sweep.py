"""Accuracy against privacy budget: every epsilon, every seed, and the reference points."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from shared.config import ExperimentConfig, at_epsilon, dump_toml, from_dict, load_toml, to_dict
from shared.data.split import MIN_EVALUATED
from shared.errors import ConfigError
from shared.files import LOCK, FolderLock, read_record, write_atomically
from shared.privacy.contribution.units import devices_add_noise
from shared.privacy.keys import load_or_create_signing_key
from shared.privacy.plan.plan import device_plan, server_plan
from shared.run_files import point_name
from simulations.engine.references import REFERENCES, planned_updates
from simulations.report import draw_curve, write_report
from simulations.sweep.jobs import Advance, Job, work
from simulations.sweep.machines import Machines
from simulations.sweep.point import is_finished, read_point, run_point
from simulations.sweep.progress import SweepProgress

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
        If the folder holds another experiment, or one and `resume` is false, or another process
        works in it, or a setting does not fit the data. Nothing was made then.
    """
    _refuse_another(config, directory, resume)
    with FolderLock(directory) as lock:
        if resume:
            lock.take()
        with Machines(config) as bench:
            settings = _points(bench.config, bench)
            load_or_create_signing_key()  # a key that cannot be had is an error now, not in an hour
            if config.engine.engine == "ray":
                bench.ray()  # nor is a machine that is too small for it
            pool = bench.workers()
            _make_folders(directory)
            lock.take()
            _refuse_another(config, directory, resume)  # of two that start at once, one is second
            if pool and any(devices_add_noise(point) for point in settings):
                pool.keep_in(directory)
            return _sweep(bench, settings, directory, quiet)


def _sweep(
    bench: Machines, settings: list[ExperimentConfig], directory: Path, quiet: bool
) -> dict[str, Any]:
    """Everything that is written, in a folder that is ours."""
    config = bench.config  # with the digests of data and weights
    _save_settings(config, directory)
    results = _opening(config, bench)
    names = [point_name(point.privacy.epsilon, point.seed) for point in settings]
    points = {n: read_point(directory, n) for n in names if is_finished(directory, n)}
    references: dict[str, dict[str, Any]] = {
        str(name): read_record(file, _REFERENCE)
        for name in config.sweep.references
        if (file := _reference_file(directory, name)).exists()
    }
    _record(results, references, points, names)
    _write(results, directory)  # never less than an interrupted run had written
    jobs = [_reference_job(name, bench, directory) for name in config.sweep.references]
    jobs += [_point_job(point, bench, directory) for point in settings]
    pool = bench.workers()
    at_once, stop = (pool.size, pool.stop) if pool else (1, _nothing)
    with SweepProgress(sum(job.updates for job in jobs), quiet=quiet) as progress:
        if pool:
            pool.tell = progress.message
        with closing(work(jobs, at_once, progress, stop)) as finished:
            for name, found in finished:
                (points if name in names else references)[name] = found
                _record(results, references, points, names)
                _write(results, directory)
    results["complete"] = True
    draw_curve(_finite(results), directory / "curve.png")
    write_report(_finite(results), directory)
    _write(results, directory)
    return results


def _record(
    results: dict[str, Any],
    references: dict[str, dict[str, Any]],
    points: dict[str, dict[str, Any]],
    names: list[str],
) -> None:
    """What was completed, in the order of the settings, whatever was faster."""
    wanted = results["config"]["sweep"]["references"]
    results["references"] = {name: references[name] for name in wanted if name in references}
    results["points"] = [points[name] for name in names if name in points]


def _reference_job(name: str, bench: Machines, directory: Path) -> Job:
    planned = planned_updates(name, bench.config, len(bench.evaluated))

    def run(advance: Advance) -> dict[str, Any]:
        return _reference(name, bench, directory, planned, advance)

    return Job(name, name.replace("_", " "), planned, run)


def _point_job(point: ExperimentConfig, bench: Machines, directory: Path) -> Job:
    epsilon, seed = point.privacy.epsilon, point.seed

    def run(advance: Advance) -> dict[str, Any]:
        return run_point(bench, point, directory, lambda entry: _tell(entry, advance))

    label = f"epsilon {epsilon:g}, seed {seed}"
    return Job(point_name(epsilon, seed), label, _planned_updates(point, len(bench.users)), run)


def _nothing() -> None:
    """Where the work is in this thread, nobody waits for workers."""


_REFERENCE = ("metrics", "validation")


def _reference_file(directory: Path, name: str) -> Path:
    return directory / "points" / f"reference-{name}.json"


def _planned_updates(point: ExperimentConfig, users: int) -> int:
    return round(point.federation.rounds * point.federation.expected_cohort(users))


def _refuse_another(config: ExperimentConfig, directory: Path, resume: bool) -> None:
    saved = directory / "config.toml"
    if not saved.exists():
        _refuse_foreign(directory)
        return
    if not resume:
        raise ConfigError(
            f"{directory}: holds a run already; continue it with --resume {directory}, "
            "or choose another --out"
        )
    then, now = (_identity(to_dict(c)) for c in (from_dict(load_toml(saved), str(saved)), config))
    if then != now:
        raise ConfigError(
            f"{saved}: differs from these settings in {_difference(then, now)}; resume with the "
            "old ones, or choose another --out"
        )
    _refuse_edited(saved, _finite(now), directory / "results.json")


def _refuse_edited(saved: Path, now: dict[str, Any], made: Path) -> None:
    """What was made so far says under which settings; a damaged file is written anew."""
    try:
        then = _identity(json.loads(made.read_bytes())["config"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if then != now:
        raise ConfigError(
            f"{saved}: was edited since the run started, in {_difference(then, now)}; put that "
            "back, or start a new run with another --out"
        )


def _identity(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without where the work is done: a run may continue with other workers."""
    engine = {k: v for k, v in settings["engine"].items() if k not in ("workers", "address")}
    return {**settings, "engine": engine}


_MADE_FIRST = {"points", "adapters", LOCK, "config.toml.part"}  # before config.toml is there


def _refuse_foreign(directory: Path) -> None:
    """A folder with somebody's files in it is not ours to write to."""
    try:
        found = sorted(file.name for file in directory.iterdir())
        found += sorted(
            f.name for name in ("points", "adapters") for f in directory.glob(f"{name}/*")
        )
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written ({error.strerror})") from None
    if foreign := [name for name in found if name not in _MADE_FIRST]:
        raise ConfigError(
            f"{directory}: holds other files, such as {foreign[0]}; choose a new or empty --out"
        )


def _difference(then: dict[str, Any], now: dict[str, Any]) -> str:
    """The first setting that differs, such as `federation.rounds (2 then, 5 now)`."""
    for name in then | now:
        one, other = then.get(name), now.get(name)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            return f"{name}.{_difference(one, other)}"
        return f"{name} ({one} then, {other} now)"
    return "nothing"


def _points(config: ExperimentConfig, bench: Machines) -> list[ExperimentConfig]:
    """The settings of every point; what cannot run is refused before anything runs."""
    for name, values in (("epsilons", config.sweep.epsilons), ("seeds", config.sweep.seeds)):
        if not values or len(set(values)) < len(values):
            raise ConfigError(f"sweep.{name} = {list(values)}: give at least one, and each once")
    points = [
        at_epsilon(config, epsilon, seed)
        for seed in config.sweep.seeds
        for epsilon in config.sweep.epsilons
    ]
    for point in points:
        _refuse_impossible(point, len(bench.population))
        bench.engine(point.model)
    if config.sweep.references:
        bench.engine(config.model)
    return points


def _refuse_impossible(point: ExperimentConfig, users: int) -> None:
    """Plan now (cached): a budget that no noise meets is refused before hours of work."""
    server_plan(point, users)
    device_plan(point, users)


def _make_folders(directory: Path) -> None:
    try:
        for folder in (directory, directory / "points", directory / "adapters"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written ({error.strerror})") from None


def _save_settings(config: ExperimentConfig, directory: Path) -> None:
    saved = directory / "config.toml"
    try:
        if not saved.exists():
            write_atomically(saved, dump_toml(config))
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written ({error.strerror})") from None


def _opening(config: ExperimentConfig, bench: Machines) -> dict[str, Any]:
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


def _environment(bench: Machines) -> dict[str, Any]:
    versions = {name.replace("-", "_"): importlib.metadata.version(name) for name in _PACKAGES}
    return versions | {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cpus": os.cpu_count(),
        **_workers(bench),
        "dtype": bench.config.engine.dtype,
        "batching": bench.engine(bench.config.model).batching,
        "checkpointing": bench.config.engine.checkpointing,
        "backbone_sha256": bench.backbone_digest,
    }


def _workers(bench: Machines) -> dict[str, Any]:
    """What computes: this process, or so many others."""
    if pool := bench.workers():
        share, device = pool.session.share, pool.session.device
        return {"workers": share.workers, "threads": share.cpus, "device": device}
    device = str(bench.engine(bench.config.model).device)
    return {"threads": torch.get_num_threads(), "device": device}


def _reference(
    name: str, bench: Machines, directory: Path, planned: int, advance: Advance
) -> dict[str, Any]:
    file = _reference_file(directory, name)
    if file.exists():
        return read_record(file, _REFERENCE)
    started = time.monotonic()
    pool = bench.workers()
    if pool is None:
        found = REFERENCES[name](bench, bench.config, advance)
    else:
        found = pool.ask(pool.rank(), "reference", name, bench.config).result()
        advance(planned, "")
    found["seconds"] = time.monotonic() - started
    found["metrics_status"] = "evaluator only, not released"
    write_atomically(file, json.dumps(found))
    return found


def _tell(entry: dict[str, float], advance: Advance) -> None:
    if "hr@10" in entry:  # a second word on a round that was counted already
        advance(0, f"validation HR@10 {entry['hr@10']:.3f}")
    else:
        advance(int(entry["participants"]), f"round {entry['round']:.0f}")


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
