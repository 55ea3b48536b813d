"""`starling policy key` and `show`: who the operator is, and what it or an adapter promises."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.canonical import document

_AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def key(as_json: _AsJson = False) -> None:
    """Print the operator's public key: what devices are configured with."""
    from shared.privacy.keys import load_or_create_signing_key, public_hex

    operator = public_hex(load_or_create_signing_key())
    typer.echo(document({"operator": operator}) if as_json else operator)


def show(
    file: Annotated[Path, typer.Argument(help="A signed policy, or an adapter.")],
    as_json: _AsJson = False,
) -> None:
    """Say in words what a policy promises, or what an adapter carries.

    A policy's signature is checked against its own issuer; what an adapter carries only
    `starling verify` compares with a ledger.
    """
    from shared.privacy.ledger import promise
    from shared.privacy.policy.show import in_words, plain
    from shared.privacy.policy.signed import load_policy

    if file.suffix == ".safetensors":
        carried = promise.read_promise(file)
        told = {"promise": carried, "promise_verified": False}
        typer.echo(document(told) if as_json else promise.in_words(carried))
    else:
        made = load_policy(file, None)
        typer.echo(document(plain(made)) if as_json else in_words(made, file))
