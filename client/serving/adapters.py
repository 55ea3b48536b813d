"""A trained adapter from a file, on the model it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open

from shared.canonical import read_json
from shared.config import ExperimentConfig, from_dict
from shared.data.catalogue import Catalogue
from shared.data.population import Population
from shared.errors import ModelError, ProtocolError
from shared.files import NotAFileError, check_file
from shared.model.adapter import AdapterSchema, current, install
from shared.model.recommender import Recommender
from shared.model.sources.choice import build, find


@dataclass(frozen=True)
class Trained:
    """A recommender with its adapter installed, and the settings it was trained under.

    Attributes
    ----------
    recommender : Recommender
    schema : AdapterSchema
    adapter : Tensor float32 [dim]
    config : ExperimentConfig
    """

    recommender: Recommender
    schema: AdapterSchema
    adapter: torch.Tensor
    config: ExperimentConfig


def read_adapter(file: Path) -> tuple[dict[str, npt.NDArray[np.float32]], ExperimentConfig]:
    """The tensors of an adapter file, and the settings it was trained under.

    Raises
    ------
    ModelError
        If the file is missing or no adapter of a run.
    """
    if file.is_dir():
        raise ModelError(f"--adapter {file}: is a folder; give DIR/adapters/NAME.safetensors")
    try:
        check_file(file)
        with safe_open(file, framework="np") as stream:
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (no dict)
            settings = (stream.metadata() or {}).get("settings")
    except FileNotFoundError:
        raise ModelError(f"--adapter {file}: there is no such file") from None
    except NotAFileError as error:
        raise ModelError(f"--adapter {file}: {error}") from None
    except (SafetensorError, OSError, TypeError) as error:  # a type that numpy has not
        raise ModelError(f"--adapter {file}: not an adapter of a run ({error})") from None
    try:
        tree = read_json(settings or "")
    except ValueError:
        raise ModelError(
            f"--adapter {file}: not an adapter of a run (no settings are in it)"
        ) from None
    return arrays, from_dict(tree, source=f"--adapter {file}")


def open_adapter(file: Path, population: Population) -> Trained:
    """Read an adapter and build its model over a population's catalogue.

    Raises
    ------
    ModelError
        If the file is missing, is no adapter, or was trained on another catalogue.
    """
    arrays, config = read_adapter(file)
    return _trained(arrays, config, population.catalogue, (f"--adapter {file}", population.name))


def open_release(file: Path, catalogue: Catalogue) -> Trained:
    """The same of an adapter that was published with its catalogue."""
    arrays, config = read_adapter(file)
    return _trained(arrays, config, catalogue, (str(file), "this device"))


def start(catalogue: Catalogue) -> Trained:
    """What is public before any adapter: a fresh model of the default settings.

    It ranks by texts, by the attributes that stand in them, and by nothing learned of people.

    Raises
    ------
    ModelError
        If the default backbone is not installed.
    """
    config = ExperimentConfig()
    recommender = build(catalogue, find(config.model), config.model)
    schema = AdapterSchema.of(recommender)
    return Trained(recommender, schema, current(recommender, schema), config)


def _trained(
    arrays: dict[str, npt.NDArray[np.float32]],
    config: ExperimentConfig,
    catalogue: Catalogue,
    words: tuple[str, str],
) -> Trained:
    """`words`: what the adapter is called, and what the catalogue is, in errors."""
    where, name = words
    sources = find(config.model)
    named = {"backbone": "backbone weights", "items": "item vectors"}
    for what, here, then in (
        ("items", catalogue.digest, config.data.catalogue),
        *((named[name], found, stated) for name, found, stated in sources.digests(config.model)),
    ):
        if then is not None and here != then:
            raise ModelError(
                f"{where}: was trained on other {what} ({then[:12]}) than those of "
                f"{name} ({here[:12]}); give what it was trained on"
            )
    recommender = build(catalogue, sources, config.model)
    schema = AdapterSchema.of(recommender)
    try:
        adapter = schema.from_arrays(arrays)
    except ProtocolError as error:
        raise ModelError(
            f"{where}: does not fit {name} with "
            f"{len(catalogue)} items ({error}); give the data it was trained on"
        ) from None
    install(recommender, schema, adapter)
    return Trained(recommender, schema, adapter, config)
