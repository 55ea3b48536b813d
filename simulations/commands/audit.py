"""`starling audit`: try to break a promise, and say with confidence whether that worked."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.canonical import document
from shared.printable import printable, shell_word

if TYPE_CHECKING:
    from simulations.audit.outcome import Audit


def audit(
    subject: Annotated[
        Path,
        typer.Argument(help="A run's or a device's folder, an adapter, or a federated-run.json's."),
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="One point, one replay, no attacks.")
    ] = False,
    key: Annotated[
        str | None, typer.Option(help="The operator's public key, of a run made elsewhere.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A new folder; default: NAME-audit beside the subject.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Attack a run and check what it promises; write a signed verdict and a page.

    Exit code 0: no violation was found, and its controls worked. 3: something is violated. 4: not
    shown. 2: a mistake in what was given.
    """
    from simulations.audit.where import default_folder, new_folder

    folder = new_folder(out or default_folder(subject))  # before anything takes its time
    from client.device.covered import typed_key
    from simulations.audit.audit import audit as audited
    from simulations.audit.audit import save
    from simulations.audit.run import Depth

    logging.getLogger("flwr").setLevel(logging.WARNING)  # what is done is said here
    try:
        named = None if key is None else typed_key("--key", key)
        found = audited(subject, named, Depth(quick=quick), _say)
    except BaseException:
        folder.rmdir()
        raise
    file, page = save(found, folder)
    if as_json:
        typer.echo(
            document({"folder": str(folder), "exit_code": found.exit_code, **found.stated()})
        )
    else:
        _print(found)
        typer.echo(f"  {printable(page)}\n  {printable(file)}")
        key_is = f"--key {found.settings['auditor']}"
        typer.echo(f"Check it: starling verify {shell_word(folder)} (elsewhere: {key_is})")
    raise typer.Exit(found.exit_code)


def _say(what: str) -> None:
    """Progress: a line each, on standard error."""
    sys.stderr.write(f"{printable(what)}\n")
    sys.stderr.flush()


def _print(found: Audit) -> None:
    """What decided, part by part; the page has all of it."""
    from simulations.audit.words import question
    from simulations.show import show_line

    for part in found.parts:
        decided = [each for each in part.findings if each.required or each.verdict == "violated"]
        show_line(f"{part.name}: {part.about}")
        for each in (*decided, *part.controls):
            show_line(f"  {each.verdict}: {question(each.name)} {each.words}.")
        counted = Counter(each.verdict for each in part.findings if each not in decided)
        if counted:
            more = ", ".join(f"{n} {verdict}" for verdict, n in counted.items())
            show_line(f"  more on the page: {more}")
    for sentence in found.cannot:
        show_line(f"Not seen from here: {sentence}")
    show_line(found.words)
