"""`starling policy key` and `show`: who the operator is, and what it or an adapter promises."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.ledger import promise
from shared.privacy.policy.show import in_words
from shared.privacy.policy.signed import load_policy


def key() -> None:
    """Print the operator's public key: what devices are configured with."""
    typer.echo(public_hex(load_or_create_signing_key()))


def show(file: Annotated[Path, typer.Argument(help="A signed policy, or an adapter.")]) -> None:
    """Say in words what a policy promises, or what an adapter carries.

    A policy's signature is checked against its own issuer; what an adapter carries only
    `starling verify` compares with a ledger.
    """
    if file.suffix == ".safetensors":
        typer.echo(promise.in_words(promise.read_promise(file)))
    else:
        typer.echo(in_words(load_policy(file, None), file))
