"""The two Flower apps, composed: what `flwr run` and a SuperNode start.

They stand above the rooms, and no room imports them. A node's device is the one of the person who
configured it or, in Flower's own simulation runtime, a virtual one. Torch, and what only a
server needs, enter when they are used, not when the bundle is imported.
"""

from __future__ import annotations

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from client.app import DeviceService, create_app, is_simulated, kept_in
from shared.request import Request


def device(context: Context, request: Request) -> DeviceService:
    """Whose device a node is."""
    if is_simulated(context.node_config):
        from simulations.flower.devices import virtual_device

        return virtual_device(context, request)
    configured, node = context.node_config, context.node_id
    if "device" in configured:  # in a process of its owner's: this one opens nothing of it
        from client.link import LinkedDevice

        return LinkedDevice.of(configured, node)
    kept = kept_in(context.state)
    if request.stage:  # needs no torch
        from client.device.node import stages_of

        return stages_of(configured, node, kept)
    from client.device.local import device_of

    return device_of(configured, request.config, node, kept)


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
        serve(grid, context.run_config)
