"""`starling simulate`: flags over settings; heavy imports wait until they were read."""

from __future__ import annotations

import dataclasses
import errno
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from shared.canonical import document, read_json
from shared.config import ExperimentConfig, at_epsilon, from_dict, load_toml
from shared.config.presets import override, preset_file
from shared.errors import ConfigError, EngineError, StarlingError
from shared.printable import shell_word
from shared.run_files import RunFolder, no_run
from simulations.commands.flags import PRESET, flag
from simulations.commands.options import numbers, takes, words

# Of `starling simulate`: name, type, the setting that it replaces if any (of its own name, where
# that ends in a dot), what it says of itself.
_OPTIONS: tuple[tuple[str, type, str, str], ...] = (
    ("data", str, "data.spec", "world, a known name, or a path."),
    ("columns", str, "data.", "What its files call them: user=userId,item=movieId."),
    ("config", Path, "", "Settings, a TOML file."),
    ("preset", str, "", "Committed settings by name, such as default or local."),
    ("engine", str, "engine.", "How clients are trained."),
    ("unit", str, "privacy.", "What is hidden."),
    ("trust", str, "privacy.", "Who adds noise."),
    ("mechanism", str, "privacy.", "Noise over the rounds."),
    ("epsilon", str, "sweep.epsilons", "Budgets, such as 1,2,4,8,inf."),
    ("delta", float, "privacy.", "Of the guarantee, in (0, 1)."),
    ("clipping_norm", float, "privacy.", "Of a person's update; its first value where it adapts."),
    ("adaptive_clipping", float, "privacy.", "Quantile of norms that the clip follows; 0: fixed."),
    ("metrics_share", float, "privacy.", "Of the budget, for metrics from devices; 0: none."),
    ("metrics_every", int, "federation.", "Rounds between them; 0: of the released adapter alone."),
    ("rounds", int, "federation.", "Rounds of every point."),
    ("cohort", float, "federation.", "Expected users a round; up to 1 is a share of all."),
    ("users", int, "data.", "Only N of the users."),
    ("aggregation", str, "federation.", "The rule, see docs/aggregation.md."),
    ("secure_aggregation", str, "federation.", "Add answers up before the server sees them."),
    ("seeds", str, "sweep.", "Such as 0,1,2."),
    ("references", str, "sweep.", "With commas; none for none."),
    ("backbone", str, "model.", "Reads histories: minilm, smollm2, a folder, id@revision."),
    ("items", str, "model.", "Encodes items: a backbone, or vectors in a file .npz."),
    ("layers", int, "model.", "Keep the first N layers; 0: all."),
    ("device", str, "engine.", "Where the model runs."),
    ("dtype", str, "engine.", "Of the backbone."),
    ("micro_batch", int, "engine.", "Clients trained at once."),
    ("workers", int, "engine.", "Worker processes; cohort: from 2 on, ray: 0 chooses."),
    ("ray_address", str, "engine.address", "Workers on a running Ray cluster: auto or host:port."),
    ("cpus_per_client", int, "engine.", "Cores of each of them."),
    ("gpus_per_client", float, "engine.", "Share of a GPU of each, such as 0.25."),
    ("out", Path, "", "A new folder for everything made."),
    ("resume", Path, "", "Continue the run in this folder."),
    ("quiet", bool, "", "No progress."),
    ("json", bool, "", "One JSON document, in place of the table."),
)


def _setting(name: str, to: str) -> str:
    return to + name if to.endswith(".") else to


_LISTS: dict[str, Callable[[str], Any]] = {
    "epsilon": lambda text: numbers("--epsilon", text, float),
    "seeds": lambda text: numbers("--seeds", text, int),
    "references": lambda text: words("--references", text),
}
_Flags = dataclasses.make_dataclass(
    "_Flags",
    [flag(name, kind, _setting(name, to), text) for name, kind, to, text in _OPTIONS],
)


@takes(_Flags, {name: _setting(name, to) for name, _, to, _ in _OPTIONS if to})
def simulate(given: Any) -> None:
    """Draw accuracy against privacy budget over virtual clients."""
    config, preset, resume, out = given.config, given.preset, given.resume, given.out
    if resume is not None and out is not None:
        raise ConfigError("--out and --resume: give one; --resume continues in its own folder")
    if sum(name is not None for name in (config, preset, resume)) > 1:
        raise ConfigError("--config, --preset and --resume: give one of them")
    tree = _settings(config, preset, resume, given.trust, given.mechanism)
    flags = {}
    for name, _, setting, _ in _OPTIONS:
        value = getattr(given, name)
        if setting and value is not None:
            flags[_setting(name, setting)] = _LISTS[name](value) if name in _LISTS else value
    experiment = override(tree, flags, preset=config is None and resume is None)
    _tell_what_never_comes(experiment)
    directory = resume or out or Path("runs") / _default_name(experiment)
    with _saying_how_to_go_on(RunFolder(directory), resume is not None):
        _run(experiment, directory, resume is not None, given)


def _tell_what_never_comes(experiment: ExperimentConfig) -> None:
    finite = [epsilon for epsilon in experiment.sweep.epsilons if math.isfinite(epsilon)]
    for epsilon in finite[:1]:  # the others have the same rounds
        point = at_epsilon(experiment, epsilon, 0)
        every, rounds = point.federation.metrics_every, point.federation.rounds
        if every and every >= rounds and point.privacy.metrics_share:
            typer.echo(
                f"warning: federation.metrics_every = {every} with federation.rounds = {rounds}: "
                "metrics are released at the end alone",
                err=True,
            )


def _run(experiment: ExperimentConfig, directory: Path, resume: bool, given: Any) -> None:
    from simulations.report.outcome import print_outcome
    from simulations.sweep.folder import plain_folder
    from simulations.sweep.sweep import run_sweep  # torch and Flower enter here

    directory = plain_folder(directory)
    logging.getLogger("flwr").setLevel(logging.WARNING)  # progress tells what its log would
    results = run_sweep(experiment, directory, resume=resume, quiet=given.quiet)
    if given.json:
        stated = read_json(RunFolder(directory).results.read_bytes())
        typer.echo(document({"folder": str(directory), "results": stated}))
    else:
        print_outcome(results, directory)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, told as a mistake in --out


@contextmanager
def _saying_how_to_go_on(run: RunFolder, resume: bool) -> Iterator[None]:
    """Note on whatever stops a run the command that continues it, where there is one.

    A mistake in settings or data, and a guarantee that does not hold, stop it again.
    """
    ours = resume or not run.settings.exists()
    try:
        yield
    except BaseException as error:
        from_outside = (
            not isinstance(error, StarlingError)
            or isinstance(error, EngineError)
            or getattr(error.__context__, "errno", None) in _FULL
        )
        if not (ours and run.settings.is_file()):
            error.add_note("nothing was made yet")
        elif from_outside:
            error.add_note(f"continue: starling simulate --resume {shell_word(run.path)}")
        raise


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


def _default_name(experiment: ExperimentConfig) -> str:
    """Of the data's file or folder, wherever `.`, `..` or a link leads; never a way elsewhere."""
    path = Path(experiment.data.spec).resolve()
    return path.stem if path.stem.strip(".") else "run"
