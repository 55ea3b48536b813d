"""The two Flower apps, composed: what `flwr run` and a SuperNode start.

They stand above the rooms, and no room imports them. A node's device is a process of its owner's
or, in Flower's own simulation runtime, a virtual one. Torch, and what only a server needs, enter
when they are used, not when the bundle is imported.
"""

from __future__ import annotations

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from client.app import DeviceService, create_app, is_simulated
from client.link import LinkedDevice
from shared.request import Request


def device(context: Context, request: Request) -> DeviceService:
    """The device of a node: a real one has a process of its own, and nothing is opened here."""
    if is_simulated(context.node_config):
        from simulations.flower.devices import virtual_device

        return virtual_device(context, request)
    return LinkedDevice.of(context.node_config, context.node_id)


client_app = create_app(device)
server_app = ServerApp()


@server_app.main()
def coordinate(grid: Grid, context: Context) -> None:
    """Run the federation that the run configuration names, or make one for virtual nodes."""
    from flwr.superlink.grid import InMemoryGrid

    from server.app import serve

    # Which grid this is decides, not a setting: noise that is only seeded must not reach people.
    if isinstance(grid, InMemoryGrid):
        from simulations.flower.run import prepared

        serve(*prepared(grid, context))
    else:
        from server.grid import PromptGrid

        declined = str(context.run_config.get("declined") or "")
        serve(PromptGrid(grid, declined), context.run_config)
