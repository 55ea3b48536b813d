"""`starling server init`, `invite`, `revoke`, `renew`, `run` and `status`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.canonical import document
from shared.errors import ConfigError
from shared.printable import printable

PORT = 9092
_Folder = Annotated[Path, typer.Argument(help="The server's folder.")]
_AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def init(
    folder: _Folder,
    data: Annotated[
        str,
        typer.Option(help="A known name, or a path: its public items are all that is used."),
    ],
    users: Annotated[
        int, typer.Option(min=2, help="People that the run rests on: so many must be connected.")
    ],
    config: Annotated[Path | None, typer.Option(help="Settings, a TOML file.")] = None,
    preset: Annotated[str | None, typer.Option(help="Committed settings; default: demo.")] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(help="A name or address of this server; default: this machine alone."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="The one that nodes connect to.")
    ] = PORT,
    rounds: Annotated[int | None, typer.Option(min=0, help="Rounds of training.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Budget of the run.")] = None,
    as_json: _AsJson = False,
) -> None:
    """Make a server: its certificate, settings, public items and initial adapter."""
    from server.up.begin import Asked, among, begin, point_of
    from server.up.folder import refuse_existing
    from shared.data.sources import open_items

    refuse_existing(folder)
    point = point_of(config, preset, {"federation.rounds": rounds}, epsilon, users)
    if config is None:
        point = among(point, users)
    made = begin(folder, open_items(data), point, host or [], Asked(users, port))
    served = made.served
    if as_json:
        told = {"folder": str(folder), "operator": served.operator, "hosts": served.hosts}
        typer.echo(document({**told, "port": served.port, "users": users, "point": served.point}))
        return
    typer.echo(f"{printable(folder)}: a server for {users} people, point {served.point}")
    typer.echo(f"operator {served.operator}: what devices are configured with")
    typer.echo(f"nodes connect to {', '.join(served.hosts)}, port {served.port}")
    typer.echo(f"next: starling server invite {folder} --count {users} --out FOLDER")


def invite(
    folder: _Folder,
    out: Annotated[Path, typer.Option(help="A folder for the invitations; made if missing.")],
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 1,
    days: Annotated[float, typer.Option(help="How long each is good.")] = 14.0,
    as_json: _AsJson = False,
) -> None:
    """Write one-time invitations: one for each node."""
    from server.up.folder import ServerFolder
    from server.up.invitations import issue, named
    from shared.files import make_folder, write_once
    from shared.invitation import Invitation, signed_invitation
    from shared.privacy.keys import load_or_create_signing_key

    if not 0 < days <= 365:
        raise ConfigError(f"--days {days:g}: expected a number above 0, at most 365")
    server = ServerFolder(folder)
    served, key = server.served, load_or_create_signing_key()
    authority, items = server.authority.read_text(), server.catalogue.digest
    written: list[str] = []
    names: list[str] = []
    try:
        make_folder(out)
        while len(written) < count:
            number = len(written) + 1
            token, expires = issue(server.invitations, days)
            address = f"{served.hosts[0]}:{served.port}"
            made = Invitation(address, authority, served.operator, items, token, expires)
            text = signed_invitation(made, key)
            while not write_once(out / f"invitation-{number}.json", text):
                number += 1
            (out / f"invitation-{number}.json").chmod(0o600)
            written.append(str(out / f"invitation-{number}.json"))
            names.append(named(token))
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from None
    if as_json:
        typer.echo(document({"invitations": written, "names": names, "expires": expires}))
    else:
        for name, file in zip(names, written, strict=True):
            typer.echo(f"{name}  {printable(file)}")
        typer.echo("note who gets which: by its name it can be revoked")
        typer.echo(f"each is good for one node, until {expires}; hand it over in confidence")


def revoke(
    folder: _Folder,
    which: Annotated[
        str,
        typer.Argument(
            metavar="INVITATION", help="Its name, as invite and status say it, or a node's number."
        ),
    ],
    as_json: _AsJson = False,
) -> None:
    """Let an invitation's node in no more, or nobody where it was not used yet."""
    from server.up.conduct import turn_away
    from server.up.folder import ServerFolder

    server = ServerFolder(folder)
    _ = server.served
    gone, known = turn_away(server, which)
    if as_json:
        number = None if gone.node is None else str(gone.node)
        told = {"invitation": gone.name, "node": number, "revoked": gone.revoked}
        typer.echo(document({**told, "superlink_knows": known}))
        return
    typer.echo(f"invitation {gone.name} was revoked at {gone.revoked}")
    if gone.node is None:
        typer.echo("no node had used it, and none can")
        return
    typer.echo(f"node {gone.node}: is let in no more; what it sent before is in the sums")
    if not known:
        typer.echo("the SuperLink does not answer; it is told when the server starts")


def renew(
    folder: _Folder,
    host: Annotated[
        list[str] | None,
        typer.Option(help="Another name or address of this server, besides those it has."),
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Make another certificate by the same authority: nodes go on, a restart shows it."""
    from server.up.authority import lasts, until_of
    from server.up.folder import ServerFolder

    server = ServerFolder(folder)
    hosts = server.renew(host or [])
    until = until_of(server.certificate, server.authority)
    if as_json:
        end = until.certificate.isoformat(timespec="seconds")
        typer.echo(document({"hosts": hosts, "until": end, "days": until.days}))
        return
    typer.echo(f"certificate: {lasts(until)}, for {', '.join(hosts)}")
    typer.echo("next: restart the server, and the proxy before it if there is one")


def run(
    folder: _Folder,
    once: Annotated[
        bool, typer.Option("--once", help="End when the run is released; default: stay up.")
    ] = False,
) -> None:
    """Be up: enrol nodes, wait for enough of them, carry out the run, publish its release."""
    from server.up.conduct import Conductor
    from server.up.folder import ServerFolder

    Conductor(ServerFolder(folder), typer.echo).run(once=once)


def status(
    folder: _Folder,
    as_json: _AsJson = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="As metrics in Prometheus' text format.")
    ] = False,
) -> None:
    """Say how far the run is, who is connected, what was spent and released."""
    from server.up.folder import ServerFolder
    from server.up.status import in_words, metrics, status_of

    if as_json and prometheus:
        raise ConfigError("--json and --prometheus: give one of them")
    found = status_of(ServerFolder(folder))
    told = document(found) if as_json else metrics(found) if prometheus else in_words(found)
    typer.echo(told)
