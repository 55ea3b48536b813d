"""What a federation starts from: a point's initial adapter and settings, in the run's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from shared.config import ExperimentConfig, dump_toml
from shared.errors import ConfigError
from shared.files import write_atomically
from shared.model.adapter import AdapterSchema, current
from shared.model.affinities import block_widths
from shared.model.recommender import Recommender
from shared.run_files import point_name, run_files


def prepare(
    recommender: Recommender, config: ExperimentConfig, directory: Path
) -> dict[str, str | bool]:
    """Write initial adapter and settings of a point; the ServerApp's run configuration.

    Beside them, where moments are asked for, what is public of the items.

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
        if config.model.moments_rank:
            write_atomically(files.public, save(public_factors(recommender)))
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written ({error.strerror})") from None
    return {
        "config": str(files.settings),
        "directory": str(directory),
        "name": name,
    }


def public_factors(recommender: Recommender) -> dict[str, npt.NDArray[np.float32]]:
    """What is public of the items, each kernel's factor [items, width] by its name."""
    table, found, first = recommender.table.cpu().numpy(), {}, 0
    for name, width in block_widths(recommender.items.shape[1], table.shape[1], 0).items():
        found[name] = np.ascontiguousarray(table[:, first : first + width])
        first += width
    return found
