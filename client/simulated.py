"""Whether a node is one of Flower's simulation runtime: then its person is nobody."""

from __future__ import annotations

import sys
from collections.abc import Mapping


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
