"""The relay: a Flower ClientApp that parses a message, asks the device, and replies.

It imports no torch and opens no data: those lie with the device's own process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from logging import ERROR, INFO
from typing import Protocol

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.supercore import log

from client.messages import declined_reply, parse, reply
from shared.errors import Declined, ProtocolError
from shared.request import STAGES, Answer, Request


class DeviceService(Protocol):
    """What a device answers; see `client.device.device.Device`."""

    def answer(self, request: Request) -> Answer:
        """An update, or ranks where those are asked for."""
        ...


Connect = Callable[[Context, Request], DeviceService]
Handler = Callable[[Message, Context], Message]


def is_simulated(node_config: Mapping[str, object]) -> bool:
    """True in an actor of Flower's simulation runtime, for a node that names no device of its own.

    The server has no say in it: what a request or the run's configuration holds is not looked at.
    A real node's process is never a Ray actor, so one whose owner forgot to name its device is
    not taken for a virtual one, and opens no data that the server names.
    """
    ray = sys.modules.get("ray")  # loaded by the runtime that started this process, or not at all
    if ray is None or "device" in node_config or not ray.is_initialized():
        return False
    return ray.get_runtime_context().get_actor_id() is not None


def _discreet(handler: Handler, simulated: bool) -> Handler:
    """Let no text of an exception leave: it may hold someone's data, as which one it is may.

    Flower sends the text to the server, where it is logged as it stands. That the device declines
    is an answer, not a failure. Why, in full, is for its owner: in the log of this process, which
    stays on the device.
    """

    @wraps(handler)
    def guarded(message: Message, context: Context) -> Message:
        try:
            return handler(message, context)
        except Declined as why:
            log(INFO, "%s", why)
            return declined_reply(message, why, context.node_id)
        except Exception as error:
            if simulated or is_simulated(context.node_config):
                raise  # nobody's data, and whoever runs the simulation must know
            log(ERROR, "%s: %s", type(error).__name__, error)
            raise ProtocolError("the device could not answer; its own log says why") from None

    return guarded


def create_app(connect: Connect, *, evaluator: bool = False) -> ClientApp:
    """A ClientApp whose requests go to the device that `connect` finds for a node.

    Parameters
    ----------
    connect : callable
    evaluator : bool
        Whether to answer with exact ranks of held-out items, which no guarantee covers: for
        simulated people; those of Flower's simulation runtime always do, a real node never.
    """
    app = ClientApp()

    def answered(message: Message, context: Context) -> Message:
        request = parse(message)
        answer = connect(context, request).answer(request)
        request.check(answer)
        return reply(message, answer, [context.node_id])

    def evaluated(message: Message, context: Context) -> Message:
        if not evaluator and not is_simulated(context.node_config):
            parse(message)  # a reply says what it is about
            raise Declined("declined: exact ranks leave no device: nothing noises them")
        return answered(message, context)

    discreet = _discreet(answered, evaluator)
    app.train()(discreet)
    app.evaluate()(_discreet(evaluated, evaluator))
    app.query("histogram")(discreet)
    app.query("moments")(discreet)
    app.query("metrics")(discreet)
    for stage in STAGES:
        app.query(stage)(discreet)
    return app
