"""A device in the relay's own process, for nodes that are configured with a log and a user.

Node configuration: `data` (a known name or a path), `columns` (what its files call their columns,
where they are not the documented ones), `user` (an identifier in that log) or `partition-id` (an
index), `state` (a folder of its own, where what it agreed to, what it spent, its own tensors and
its owner's `caps.toml` last), `operator` (the public key whose policies it heeds) and `roster` (a
file of the devices that it is summed with, see `client.secagg.identity`; without it whoever the
server names). The model is built once per process and kept, and not before the device's agreement
was asked.
"""

from __future__ import annotations

from functools import lru_cache, partial

from client.device.agreement import LEDGER
from client.device.device import Device
from client.device.node import NodeConfig, agreement_of, masking_of, state_of
from client.secagg.masking import Kept
from shared.config import ExperimentConfig, ModelConfig
from shared.data.log import InteractionLog
from shared.data.readers.columns import parse_columns
from shared.data.sources import open_log
from shared.errors import ConfigError, ModelError
from shared.model.backbone import resolve
from shared.model.items import item_vectors
from shared.model.recommender import Recommender, build_recommender


def device_of(
    node_config: NodeConfig,
    config: ExperimentConfig,
    node: int = 0,
    kept: Kept | None = None,
) -> Device:
    """The device of a node.

    Parameters
    ----------
    node_config : mapping
        See this module.
    config : ExperimentConfig
    node : int
        As whom the server addresses it.
    kept : mutable mapping of str to bytes, optional
        What lasts in memory from message to message; without it the device is in no secure sum.

    Raises
    ------
    ConfigError
        If the node configuration names no data, no user, no state folder or no operator.
    """
    log, user = person_of(node_config)
    spec, columns = _named(node_config)
    state = state_of(node_config)
    return Device(
        log.history(user),
        log.keys[user],
        partial(_built, (spec, columns), config.model),
        state / LEDGER,
        agreement=agreement_of(node_config),
        personal=state / "personal.sqlite",
        masking=None if kept is None else masking_of(node_config, node, kept),
    )


def person_of(node_config: NodeConfig) -> tuple[InteractionLog, int]:
    """The log that a node names, and the index of its person in it.

    Raises
    ------
    ConfigError, DataError
        If there is none, or no such person.
    """
    if "data" not in node_config:
        raise ConfigError(
            'node configuration: data is missing; e.g. data="movielens-100k" user="1"'
        )
    log = _log(*_named(node_config))
    if "user" in node_config:
        return log, log.user_index(str(node_config["user"]))
    if "partition-id" in node_config:
        return log, int(str(node_config["partition-id"])) % len(log)
    raise ConfigError('node configuration: user is missing; e.g. data="movielens-100k" user="1"')


def _named(node_config: NodeConfig) -> tuple[str, str]:
    return str(node_config["data"]), str(node_config.get("columns", ""))


@lru_cache(maxsize=1)
def _log(spec: str, columns: str) -> InteractionLog:
    return open_log(spec, parse_columns(columns) if columns else None)


def _built(data: tuple[str, str], model: ModelConfig) -> Recommender:
    """The model, or one kind of error: which kind would tell what lies on this disk."""
    try:
        return _recommender(data, model)
    except Exception as error:
        raise ModelError(f"model.backbone = {model.backbone}: no model here: {error}") from None


@lru_cache(maxsize=2)
def _recommender(data: tuple[str, str], model: ModelConfig) -> Recommender:
    source = resolve(model.backbone)
    if model.backbone_sha256 not in (None, source.digest):
        raise ModelError(
            f"model.backbone = {model.backbone}: the weights here are {source.digest[:12]}, the "
            f"server's {str(model.backbone_sha256)[:12]}; install the same"
        )
    return build_recommender(source, item_vectors(_log(*data).catalogue.texts, source), model)
