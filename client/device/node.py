"""What a node's configuration says of its device, without its data: state, operator and roster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from client.device.agreement import Agreement
from client.device.covered import operator_key
from client.device.staged import Stages
from client.secagg.identity import anybody, identity_of, roster
from client.secagg.masking import Kept, Masking
from client.secagg.turns import OnDisk
from shared.errors import ConfigError
from shared.files import make_folder

NodeConfig = Mapping[str, object]


def state_of(node_config: NodeConfig) -> Path:
    """The device's folder.

    Raises
    ------
    ConfigError
        If it is not named, or not by a full path.
    """
    if "state" not in node_config:
        raise ConfigError(
            "node configuration: state is missing; a folder where the device keeps what it agreed "
            'to and spent, e.g. state="/var/lib/starling"'
        )
    state = Path(str(node_config["state"]))
    if not state.is_absolute():  # an app runs in an unpacked copy: another copy, another budget
        raise ConfigError(f"node configuration: state = {str(state)!r}: give a full path")
    return state


def agreement_of(node_config: NodeConfig) -> Agreement:
    """The device's gate; a ConfigError without a state folder or an operator."""
    operator = operator_key("node configuration", node_config.get("operator", ""))
    evaluator = node_config.get("evaluator") is True
    return Agreement(state_of(node_config), operator, evaluator=evaluator)


def masking_of(node_config: NodeConfig, node: int, kept: Kept) -> Masking:
    """The device's part in secure sums.

    Parameters
    ----------
    node_config : mapping
        `roster` names the file of the devices that it is summed with, and no others.
    node : int
        As whom the server addresses it.
    kept : mutable mapping of str to bytes
        What lasts in memory from message to message.
    """
    state, given = state_of(node_config), node_config.get("roster")
    make_folder(state)
    trusted = anybody if given is None else roster(Path(str(given)))
    return Masking(node, identity_of(state), kept, trusted, OnDisk(state))


def stages_of(node_config: NodeConfig, node: int, kept: Kept) -> Stages:
    """As much of the device as a stage of a secure sum needs: no model is built for it."""
    return Stages(masking_of(node_config, node, kept), agreement_of(node_config))
