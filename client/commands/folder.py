"""A device's folder: made, and what its person did brought into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.errors import ConfigError
from shared.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from client.device.folder import DeviceFolder
    from client.store import Interaction

_State = Annotated[Path, typer.Option(help="The device's folder, see starling client init.")]
_Log = Annotated[str, typer.Option(help="A known name, or a path: a log with the person in it.")]
_Columns = Annotated[str, typer.Option(help="What files call their columns: user=..,item=..")]


def init(
    state: Annotated[Path, typer.Option(help="The folder to make.")],
    user: Annotated[str, typer.Option(help="The person's identifier.")],
    invitation: Annotated[
        Path | None,
        typer.Option(help="An operator's: who it is and its items come from its server."),
    ] = None,
    operator: Annotated[
        str, typer.Option(help="The key whose policies the device heeds: hex, or a file.")
    ] = "",
    items: Annotated[
        str, typer.Option(help="A known name, or a path: what can be recommended.")
    ] = "",
    log: _Log = "",
    columns: _Columns = "",
    hours: Annotated[
        str, typer.Option(help="Local times of day at which it computes for others; or any.")
    ] = "22:00-06:00",
) -> None:
    """Make the folder of a device: whose it is, whom it heeds, and what it recommends from.

    From an invitation, or from an operator's key and a catalogue.
    """
    from client.device.conditions import ANY, Conditions, window
    from client.device.covered import typed_key
    from client.device.folder import DeviceFolder, Owned
    from client.enrolment import invited
    from shared.data.readers.columns import parse_columns
    from shared.data.sources import open_items

    if hours != ANY and window(hours) is None:
        raise ConfigError(f"--hours {hours[:40]!r}: expected any, or two times as 22:00-06:00")
    key = typed_key("--operator", operator) if operator else None
    did = _interactions(log, columns, user) if log else []
    if invitation:
        if items:
            raise ConfigError("--invitation and --items: give one of them")
        catalogue, heeded = invited(invitation, key)
    elif key and items:
        catalogue = open_items(items, parse_columns(columns) if columns else None)
        heeded = key
    else:
        raise ConfigError("give --invitation FILE, or --operator KEY and --items SPEC")
    owned = Owned(user, heeded, conditions=Conditions(hours))
    folder = DeviceFolder.begin(state, owned, catalogue)
    typer.echo(f"{printable(state)}: a device over {len(catalogue)} items")
    if invitation:
        typer.echo(f"operator {heeded}: compare it with what you were told by another way")
    if log:
        _keep(folder, did)


def import_log(state: _State, log: _Log, columns: _Columns = "") -> None:
    """Add what a log says that the device's person did; what is kept already stays once."""
    from client.device.folder import DeviceFolder

    folder = DeviceFolder(state)
    _keep(folder, _interactions(log, columns, folder.owned.user))


def update(
    release: Annotated[Path, typer.Argument(help="A release's folder, or an invitation.")],
    state: _State,
) -> None:
    """Install a release that the operator published: it is checked before it counts."""
    import tempfile

    from client.device.folder import DeviceFolder
    from client.enrolment import fetch_release

    folder = DeviceFolder(state)
    folder.owned  # noqa: B018 (there is a device)
    with tempfile.TemporaryDirectory() as place:
        source = release if release.is_dir() else fetch_release(release, Path(place))
        installed = folder.install(source)
    typer.echo(f"release {installed.version}, issued {installed.manifest.issued}, is installed")


def rollback(state: _State) -> None:
    """Go back to the release before the current one, until a later one is installed."""
    from client.device.folder import DeviceFolder

    installed = DeviceFolder(state).roll_back()
    typer.echo(f"back to release {installed.version}, issued {installed.manifest.issued}")


def pause(
    state: _State,
    off: Annotated[bool, typer.Option("--off", help="Take part again.")] = False,
) -> None:
    """Take part in nothing until --off: the line `pause` of the owner's caps.toml."""
    from client.device.folder import DeviceFolder

    folder = DeviceFolder(state)
    folder.owned  # noqa: B018 (there is a device)
    folder.pause(not off)
    typer.echo("takes part again, as far as caps allow" if off else "paused: takes part in nothing")


def export(
    file: Annotated[Path, typer.Argument(help="The file to write; new.")], state: _State
) -> None:
    """Write all that the device keeps about its person into one readable file."""
    from client.device.folder import DeviceFolder

    DeviceFolder(state).export(file)
    typer.echo(f"{printable(file)}: all that is kept here about the person; its end says what not")


def forget(
    state: _State,
    item: Annotated[str, typer.Option(help="Forget this item alone, and take part on.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase what the device keeps of its person, for good, and take part in nothing any more.

    Its records of what was spent stay, since what was learned from them stays elsewhere.
    """
    from client.device.folder import DeviceFolder

    folder = DeviceFolder(state)
    folder.owned  # noqa: B018 (there is a device)
    what = f"all that is kept of {item!r}" if item else "all that is kept of the person"
    if not yes and not typer.confirm(f"{printable(state)}: erase {printable(what)}, for good?"):
        typer.echo("nothing was erased")
        return
    erased = folder.forget(item or None)
    typer.echo(f"erased: {printable(', '.join(erased) or 'nothing was kept')}")
    for line in _unlearned(state):
        typer.echo(line)


def _unlearned(state: Path) -> Iterator[str]:
    """What holds of what left before."""
    from client.person.spending import read_spending
    from shared.privacy.sentences import unlearned

    for budget in read_spending(state).budgets:
        told = budget.guarantee
        yield unlearned(budget.spent, told.delta, told.unit)
        yield f"That holds against {told.adversary}."


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
