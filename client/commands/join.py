"""`starling client join` and `relay`: what the user of a device's SuperNode does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.printable import printable


def join(
    invitation: Annotated[Path, typer.Argument(help="The operator's invitation, a file.")],
    node: Annotated[Path, typer.Option(help="A new folder for the node.")],
    socket: Annotated[Path, typer.Option(help="Where the device's own process listens.")],
    operator: Annotated[
        str | None,
        typer.Option(help="The operator's key as you were told it; another one is refused."),
    ] = None,
) -> None:
    """Enrol a node with an operator's server: check who it is, make the node's key."""
    from client.device.covered import typed_key
    from client.enrolment import Server
    from client.enrolment import join as joined
    from shared.errors import PrivacyError
    from shared.privacy.policy.show import in_words
    from shared.privacy.policy.signed import read_policy

    key = None if operator is None else typed_key("--operator", operator)
    made = joined(invitation, node, socket, key)
    typer.echo(f"{printable(node)}: a node of {made.address}")
    typer.echo(f"operator {made.operator}: compare it with what you were told by another way")
    if text := Server.of(made).get("/policy.json"):
        try:
            typer.echo(in_words(read_policy(text.decode(), made.operator), Path("policy.json")))
        except (PrivacyError, UnicodeDecodeError) as why:
            typer.echo(f"warning: the server's policy: {why}", err=True)
    typer.echo(f"next: starling client relay {node}")


def relay(node: Annotated[Path, typer.Argument(help="The node's folder.")]) -> None:
    """Be the node's SuperNode: take messages to the device's process, and its answers back.

    Exit code 1: it ended of itself (its answers were a turn late, or what runs its messages had
    ended) and is to be started again, as its service unit does. 0: it was told to end.
    """
    import os
    import sys

    from client.enrolment import Server
    from client.relay import told
    from shared.files import read_file

    words, environment = told(node)
    # Flower would try again for ever, and say nothing of whose certificate it is that ended.
    authority = read_file(node / "ca.pem").decode(errors="replace")
    Server(words[words.index("--superlink") + 1], authority).check_trusted()
    os.environ.update(environment)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "client.relay", *words])
