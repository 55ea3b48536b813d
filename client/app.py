"""The relay: a Flower ClientApp that parses a message, asks the device, and replies.

It imports no torch and holds no data: a bundle delivered by the server can ask, never read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Protocol

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.messages import declined_reply, parse, ranks_reply, update_reply
from shared.config import ExperimentConfig
from shared.data.split import Phase
from shared.errors import Declined, ProtocolError
from shared.request import Request
from shared.update import Arrays, Update


class DeviceService(Protocol):
    """What a device answers; see `client.device.device.Device`."""

    def train(
        self,
        arrays: Arrays,
        round_number: int,
        users: int,
        config: ExperimentConfig,
        policy: str = "",
        adapted: float = 0.0,
    ) -> Update:
        """One round of local training; the clipped update."""
        ...

    def evaluate(
        self,
        arrays: Arrays,
        phase: Phase,
        config: ExperimentConfig,
        round_number: int = 0,
        users: int = 1,
        policy: str = "",
    ) -> tuple[int, int] | None:
        """Sampled and full rank of the held-out item, or None."""
        ...

    def histogram(self, users: int, config: ExperimentConfig, policy: str = "") -> Update:
        """The user's share of the popularity histogram."""
        ...

    def metrics(
        self,
        arrays: Arrays,
        round_number: int,
        users: int,
        config: ExperimentConfig,
        policy: str = "",
    ) -> Update:
        """The user's share of private metrics."""
        ...


Connect = Callable[[Context, Request], DeviceService]
Handler = Callable[[Message, Context], Message]


def is_simulated(node_config: Mapping[str, object]) -> bool:
    """True in an actor of Flower's simulation runtime, for a node that names no data of its own.

    The server has no say in it: what a request or the run's configuration holds is not looked at.
    A device's process is never a Ray actor, so a device whose owner forgot to name its data is
    not taken for a virtual one, and opens no data that the server names.
    """
    ray = sys.modules.get("ray")  # loaded by the runtime that started this process, or not at all
    if ray is None or "data" in node_config or not ray.is_initialized():
        return False
    return ray.get_runtime_context().get_actor_id() is not None


def _discreet(handler: Handler) -> Handler:
    """Let no text of an exception leave but the protocol's own: it may hold someone's data.

    Flower sends the text to the server, where it is logged as it stands. That the device declines
    is an answer, not a failure.
    """

    @wraps(handler)
    def guarded(message: Message, context: Context) -> Message:
        try:
            return handler(message, context)
        except Declined as why:
            return declined_reply(message, why, context.node_id)
        except ProtocolError:
            raise
        except Exception as error:
            if is_simulated(context.node_config):
                raise  # nobody's data, and whoever runs the simulation must know
            kind = type(error).__name__
            raise ProtocolError(f"the device could not answer ({kind})") from None

    return guarded


def create_app(connect: Connect, *, evaluator: bool = False) -> ClientApp:
    """A ClientApp whose requests go to the device that `connect` finds for a node.

    Parameters
    ----------
    connect : callable
    evaluator : bool
        Whether to answer with exact ranks of held-out items, which no guarantee covers: for
        simulated people; those of Flower's simulation runtime always do. A real node's owner
        allows it by `evaluator=true` in the node configuration, whatever the server asks.
    """
    app = ClientApp()

    @app.train()
    @_discreet
    def train(message: Message, context: Context) -> Message:
        request = parse(message)
        device = connect(context, request)
        update = device.train(
            request.arrays,
            request.round_number,
            request.users,
            request.config,
            request.policy,
            request.clip,
        )
        if update.schema != request.schema:
            raise ProtocolError("the server's adapter schema is not this device's")
        return update_reply(message, update, [context.node_id])

    @app.evaluate()
    @_discreet
    def evaluate(message: Message, context: Context) -> Message:
        allowed = evaluator or context.node_config.get("evaluator") is True
        if not allowed and not is_simulated(context.node_config):
            raise ProtocolError("this node does not give metrics: nothing noises them")
        request = parse(message)
        device = connect(context, request)
        ranks = device.evaluate(
            request.arrays,
            request.phase,
            request.config,
            request.round_number,
            request.users,
            request.policy,
        )
        sampled, full = ([ranks[0]], [ranks[1]]) if ranks else ([], [])
        return ranks_reply(message, sampled, full, [context.node_id])

    @app.query("histogram")
    @_discreet
    def histogram(message: Message, context: Context) -> Message:
        request = parse(message)
        device = connect(context, request)
        update = device.histogram(request.users, request.config, request.policy)
        return update_reply(message, update, [context.node_id])

    @app.query("metrics")
    @_discreet
    def metrics(message: Message, context: Context) -> Message:
        request = parse(message)  # the device refuses where no noise was agreed on
        update = connect(context, request).metrics(
            request.arrays, request.round_number, request.users, request.config, request.policy
        )
        return update_reply(message, update, [context.node_id])

    return app
