"""Flower's simulation runtime as one object: the only place that meets its internals.

Flower's own entry (`run_simulation`) runs the ServerApp in a second thread, waits for its Ray
workers when it is interrupted, starts Ray anew at every call and hands clients no run
configuration. Here the same parts - link state, virtual nodes, worker threads, Ray backend,
ClientApp actors - are put together so that the ServerApp runs in the caller's thread and the
actors stay from one run to the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from flwr.app import Context, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.common.constant import NUM_PARTITIONS_KEY, PARTITION_ID_KEY
from flwr.compat.client.run_info_store import DeprecatedRunInfoStore, RunInfo
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend
from flwr.server.superlink.fleet.vce.metrics import VceMetrics
from flwr.server.superlink.fleet.vce.vce_api import _register_nodes, run_api
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkStateFactory
from flwr.server.superlink.linkstate.in_memory_linkstate import RunRecord
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import InMemoryGrid

from shared.errors import EngineError, last_line

RUN_ID = 1


class ResidentBackend(RayBackend):
    """Flower's Ray backend, whose actors outlive a run: the next one finds their models warm."""

    def build(self, app_fn: Callable[[], ClientApp]) -> None:
        """Start the actors, the first time."""
        if self.pool is None:
            super().build(app_fn)

    def terminate(self) -> None:
        """End of a run: the actors stay, see `close`."""

    def close(self) -> None:
        """End the actors and Ray."""
        super().terminate()


class Runtime:
    """A running federation of virtual nodes.

    Attributes
    ----------
    grid : InMemoryGrid
        Flower's own.
    nodes : list of int
        Node identifiers; node i is partition i.
    """

    def __init__(self, grid: InMemoryGrid, nodes: list[int]) -> None:
        self.grid = grid
        self.nodes = nodes
        self.failure: Exception | None = None

    def check(self) -> None:
        """Raise what ended the runtime, if anything did."""
        if self.failure is not None:
            cause = self.failure.__cause__ or self.failure
            raise EngineError(f"Ray engine: {last_line(str(cause))}") from self.failure


@contextmanager
def running(
    backend: ResidentBackend, app: ClientApp, users: int, run_config: Mapping[str, str | int | bool]
) -> Iterator[Runtime]:
    """A federation of `users` virtual nodes that run a ClientApp, ended on leaving.

    Parameters
    ----------
    backend : ResidentBackend
    app : ClientApp
    users : int
    run_config : mapping
        What clients find in their context.
    """
    states, run = _link(RUN_ID)
    nodes = _register_nodes(users, states)  # node identifier -> partition
    grid = InMemoryGrid(states, pull_interval=0.02)
    grid.set_run(run)
    runtime = Runtime(grid, list(nodes))
    stores = {node: _store(node, place, users, run_config) for node, place in nodes.items()}
    stop = threading.Event()

    def serve() -> None:
        try:
            run_api(lambda: app, lambda: backend, nodes, states, stores, stop, VceMetrics())
        except Exception as error:
            runtime.failure = error

    thread = threading.Thread(target=serve, name="flower-simulation")
    thread.start()
    try:
        yield runtime
    finally:
        stop.set()
        thread.join()


def _link(run_id: int) -> tuple[LinkStateFactory, Run]:
    """A link state that knows one run."""
    states = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory())
    run = Run.create_empty(run_id)
    run.primary_task_id = run_id
    run.federation_id = NOOP_FEDERATION_ID
    state = cast(InMemoryLinkState, states.state())
    state.run_ids[run_id] = RunRecord(run=run)
    state.task_store[run_id] = Task(task_id=run_id, run_id=run_id)
    return states, run


def _store(
    node: int, place: int, users: int, run_config: Mapping[str, str | int | bool]
) -> DeprecatedRunInfoStore:
    """What Flower keeps of a node between its messages."""
    node_config: UserConfig = {PARTITION_ID_KEY: place, NUM_PARTITIONS_KEY: users}
    store = DeprecatedRunInfoStore(node, node_config)
    context = Context(RUN_ID, node, node_config, RecordDict(), dict(run_config))
    store.run_infos[RUN_ID] = RunInfo(context, dict(run_config))
    return store
