"""A device's folder: made, and what its person did brought into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.errors import ConfigError
from shared.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from client.device.folder import DeviceFolder
    from client.store import Interaction

_State = Annotated[Path, typer.Option(help="The device's folder, see starling client init.")]
_Log = Annotated[str, typer.Option(help="A known name, or a path: a log with the person in it.")]
_Columns = Annotated[str, typer.Option(help="What files call their columns: user=..,item=..")]


def init(
    state: Annotated[Path, typer.Option(help="The folder to make.")],
    user: Annotated[str, typer.Option(help="The person's identifier.")],
    operator: Annotated[
        str, typer.Option(help="The key whose policies the device heeds: hex, or a file.")
    ] = "",
    items: Annotated[
        str, typer.Option(help="A known name, or a path: what can be recommended.")
    ] = "",
    invitation: Annotated[
        Path | None,
        typer.Option(help="An operator's: who it is and its items come from its server."),
    ] = None,
    log: _Log = "",
    columns: _Columns = "",
) -> None:
    """Make the folder of a device: whose it is, whom it heeds, and what it recommends from."""
    from client.device.covered import typed_key
    from client.device.folder import DeviceFolder, Owned
    from shared.data.readers.columns import parse_columns
    from shared.data.sources import open_items

    named = parse_columns(columns) if columns else None
    if invitation is not None:
        from client.enrolment import invited

        if items:
            raise ConfigError("--invitation and --items: give one of them")
        expected = typed_key("--operator", operator) if operator else None
        catalogue, heeded = invited(invitation, expected)
    else:
        if not (operator and items):
            raise ConfigError("give --invitation FILE, or --operator KEY and --items SPEC")
        catalogue, heeded = open_items(items, named), typed_key("--operator", operator)
    owned = Owned(user, heeded)
    did = _interactions(log, columns, user) if log else []
    folder = DeviceFolder.begin(state, owned, catalogue)
    typer.echo(f"{printable(state)}: a device over {len(catalogue)} items")
    if invitation is not None:
        typer.echo(f"operator {heeded}: compare it with what you were told by another way")
    if log:
        _keep(folder, did)


def import_log(state: _State, log: _Log, columns: _Columns = "") -> None:
    """Add what a log says that the device's person did; what is kept already stays once."""
    from client.device.folder import DeviceFolder

    folder = DeviceFolder(state)
    _keep(folder, _interactions(log, columns, folder.owned.user))


def _interactions(spec: str, columns: str, user: str) -> list[Interaction]:
    from client.store import interactions_of
    from shared.data.readers.columns import parse_columns
    from shared.data.sources import open_log

    return interactions_of(open_log(spec, parse_columns(columns) if columns else None), user)


def _keep(folder: DeviceFolder, did: Sequence[Interaction]) -> None:
    catalogue = folder.catalogue
    new = folder.store.add(did)
    waiting = sum(each.item not in catalogue for each in did)
    told = f"; {waiting} of items that the catalogue does not hold wait" if waiting else ""
    typer.echo(f"{len(did)} interactions read, {new} of them new{told}")
