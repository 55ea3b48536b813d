"""What a federation starts from: a point's initial adapter and settings, in the run's folder."""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import save

from shared.config import ExperimentConfig, dump_toml
from shared.errors import ConfigError
from shared.files import write_atomically
from shared.model.adapter import AdapterSchema, current
from shared.model.recommender import Recommender
from shared.run_files import point_name, run_files


def prepare(
    recommender: Recommender, config: ExperimentConfig, directory: Path
) -> dict[str, str | bool]:
    """Write the initial adapter and the settings of a point; the ServerApp's run configuration.

    Parameters
    ----------
    recommender : Recommender
        Newly built: its adapter is the initial one.
    config : ExperimentConfig
        The settings of one point.
    directory : Path
        The run's; made if missing.

    Raises
    ------
    ConfigError
        If the folder cannot be written.
    """
    name = point_name(config.privacy.epsilon, config.seed)
    files = run_files(directory, name)
    schema = AdapterSchema.of(recommender)
    adapter = current(recommender, schema).cpu().numpy()
    try:
        for folder in (files.initial.parent, files.adapter.parent):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomically(files.initial, save(dict(schema.split(adapter))))
        write_atomically(files.settings, dump_toml(config))
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written ({error.strerror})") from None
    return {
        "config": str(files.settings),
        "directory": str(directory),
        "name": name,
    }
