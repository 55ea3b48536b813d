"""Virtual people inside an actor of Flower's simulation runtime.

The population and each model are opened once per process and stay: an actor answers any number of
requests for any number of people.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import ray
from flwr.app import Context

from client.device.device import Device
from client.device.staged import Stages
from shared.config import DataConfig, EngineConfig, ExperimentConfig, ModelConfig, WorldConfig
from shared.data.population import check_user
from shared.data.salted import SaltedDigest
from shared.model.sources.choice import WEIGHTS
from shared.request import Request
from shared.run_files import RunFolder, directory_of, point_name, run_files
from simulations.engine.examples import device_ledger
from simulations.engine.ranking import personal_file
from simulations.engine.simulation import Simulation
from simulations.flower.agreed import check_agreed
from simulations.flower.grid import node_of, virtual_masking


def virtual_device(context: Context, request: Request) -> Device | Stages:
    """The device of the person at the place in the data that is the node's partition.

    Parameters
    ----------
    context : Context
        Of the node. `device` of the run configuration says what to compute on; without it that
        is the share of a GPU that Ray gave to this process, if any. It uses as many threads as
        Ray gave it cores.
    request : Request
        With the point's settings and policy as the server sent them.

    Raises
    ------
    ConfigError
        If items or weights here are not those that the server's digests name, or the people are
        not those that the run started with.
    DataError
        If there are more nodes than people.
    ProtocolError
        If the policy does not cover the request.
    """
    config = request.config
    share: dict[str, float] = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]  # Ray: untyped
    device = context.run_config.get("device") or ("cuda" if share.get("GPU") else "cpu")
    threads = max(1, int(share.get("CPU", 1)))
    told: dict[str, Any] = {
        name: context.run_config[name]
        for name in ("dtype", "checkpointing")
        if name in context.run_config
    }
    how = EngineConfig(device=cast(Any, device), threads=threads, **told)  # which checks them
    weights = _weights_of(config.model)
    directory = directory_of(context.run_config, context.run_id)
    kept = SaltedDigest.read(RunFolder(directory).data)
    simulation = _simulation(config.data, config.world, weights, how, kept)
    population, user = simulation.population, int(context.node_config["partition-id"])
    check_user(user, len(population), population.name)
    key = population.keys[user]
    engine, state = simulation.engine(config.model), _state(directory, config)
    check_agreed(request, engine.schema.digest)
    masking = virtual_masking(node_of(key), context)
    if request.stage:
        return Stages(masking, simulated=True)
    return Device(
        population.history(user),
        key,
        engine.recommender,
        device_ledger(state, key),
        personal=personal_file(state),
        masking=masking,
        simulated=True,
    )


def _state(directory: Path, config: ExperimentConfig) -> Path:
    return run_files(directory, point_name(config.privacy.epsilon, config.seed)).devices


def _weights_of(model: ModelConfig) -> ModelConfig:
    """The settings with what names weights and item vectors alone."""
    return ModelConfig(**{name: getattr(model, name) for name in WEIGHTS})


@lru_cache(maxsize=1)
def _simulation(
    data: DataConfig,
    world: WorldConfig,
    weights: ModelConfig,
    how: EngineConfig,
    kept: SaltedDigest,
) -> Simulation:
    config = ExperimentConfig(data=data, world=world, model=weights, engine=how)
    return Simulation(config, data=kept)
