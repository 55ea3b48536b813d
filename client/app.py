"""The relay: a Flower ClientApp that parses a message, asks the device, and replies.

It imports no torch and holds no data: a bundle delivered by the server can ask, never read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.evaluate import Phase
from client.messages import Request, parse, ranks_reply, update_reply
from shared.config import ExperimentConfig
from shared.errors import ProtocolError
from shared.model.arrays import Arrays
from shared.update import Update


class DeviceService(Protocol):
    """What a device answers; see `client.device.Device`."""

    def train(self, arrays: Arrays, round_number: int, config: ExperimentConfig) -> Update:
        """One round of local training; the clipped update."""
        ...

    def evaluate(
        self, arrays: Arrays, phase: Phase, config: ExperimentConfig
    ) -> tuple[int, int] | None:
        """Sampled and full rank of the held-out item, or None."""
        ...

    def histogram(self) -> Update:
        """The user's share of the popularity histogram."""
        ...


Connect = Callable[[Context, Request], DeviceService]


def create_app(connect: Connect) -> ClientApp:
    """A ClientApp whose requests go to the device that `connect` finds for a node."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        request = parse(message)
        device = connect(context, request)
        update = device.train(request.arrays, request.round_number, request.config)
        if update.schema != request.schema:
            raise ProtocolError("the server's adapter schema is not this device's")
        return update_reply(message, update, [context.node_id])

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        request = parse(message)
        device = connect(context, request)
        ranks = device.evaluate(request.arrays, request.phase, request.config)
        sampled, full = ([ranks[0]], [ranks[1]]) if ranks else ([], [])
        return ranks_reply(message, sampled, full, [context.node_id])

    @app.query("histogram")
    def histogram(message: Message, context: Context) -> Message:
        device = connect(context, parse(message))
        return update_reply(message, device.histogram(), [context.node_id])

    return app


def _connect_by_node_config(context: Context, request: Request) -> DeviceService:
    from client.local import device_of  # torch enters here, not when the bundle is imported

    return device_of(context.node_config, request.config)


app = create_app(_connect_by_node_config)
