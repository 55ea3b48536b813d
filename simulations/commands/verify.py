"""`starling verify`: the table for people, the exit code for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.errors import PrivacyError
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from simulations.commands import options
from simulations.verify.point import Record, VerifyRow
from simulations.verify.run import VerifyReport, verify_run

OF_DEVICES = ("least of a device", "most of a device")


def verify(
    directory: Annotated[Path, typer.Argument(help="Folder of a run: results.json and ledgers.")],
    public_key: Annotated[
        str | None,
        typer.Option(help="The operator's key, 64 hex digits; default: the local key store's."),
    ] = None,
    deltas: Annotated[
        str | None, typer.Option(help="Epsilon at these too, such as 1e-4,1e-6.")
    ] = None,
) -> None:
    """Recompute every epsilon in a run from its ledgers; exit code 3 on a mismatch."""
    chosen = [] if deltas is None else options.deltas(deltas)
    report = verify_run(directory, public_key)
    console = Console()
    print_report(report, console)
    if chosen:
        print_deltas(report, chosen, console)
    if not report.ok:
        raise typer.Exit(PrivacyError.exit_code)


def print_report(report: VerifyReport, console: Console) -> None:
    """A table of the points, then everything that disagrees, then who vouches for it."""
    table = Table(title="Privacy spent, recomputed from the ledgers")
    table.add_column("point")
    table.add_column("unit, trust")
    for column in ("claimed", "PLD", "RDP", "PRV"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in report.rows:
        spent = (row.claimed, row.epsilon, row.epsilon_rdp, row.epsilon_prv)
        cells = ["-" if value is None else f"{value:.4g}" for value in spent]
        table.add_row(
            Text(row.point), Text(row.promise), *cells, "agrees" if row.ok else "MISMATCH"
        )
    console.print(table)

    def line(text: str) -> None:
        # File names and claims are whoever's who wrote the folder: they must not forge lines.
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    for row in report.rows:
        for reason in row.reasons:
            line(f"{row.point}: {reason}")
    for problem in report.problems:
        line(problem)
    for ledger in report.in_progress:
        line(ledger)
    if not report.complete:
        line(
            f"INCOMPLETE: {len(report.rows)} of {report.planned} planned points; of the others "
            "nothing is claimed and nothing shown. Finish it with starling simulate --resume."
        )
    line(f"Signer: {report.signer}.")
    line("Each point is a release of its own; whoever sees several of them adds up their losses.")
    so_far = "" if report.complete else " as far as the run went"
    line(f"Claims and ledgers {'agree' if report.ok else 'DISAGREE'}{so_far}.")


def print_deltas(report: VerifyReport, deltas: Sequence[float], console: Console) -> None:
    """One row for each guarantee and delta; of devices, what the least and the most spent.

    A guarantee holds at every delta at once: these are points of one and the same curve.
    """
    table = Table(title="The same ledgers at other deltas, by the accountant that counts")
    for column in ("point", "unit, trust"):
        table.add_column(column)
    devices = any(isinstance(row.record, DeviceLedgers) for row in report.rows)
    figures = ("delta", "epsilon", *(OF_DEVICES if devices else ()))
    for column in figures:
        table.add_column(column, justify="right")
    for row in report.rows:
        for delta in deltas:
            cells = (Text(row.point), Text(row.promise), f"{delta:g}", *_cells(row, delta))
            table.add_row(*cells[: 2 + len(figures)])
    console.print(table)


def _cells(row: VerifyRow, delta: float) -> tuple[str, str, str]:
    if row.record is None:
        return "-", "-", "-"
    spent = f"{row.record.epsilon(delta):.4g}"
    return spent, *_of_devices(row.record, delta)


def _of_devices(record: Record, delta: float) -> tuple[str, str]:
    if not isinstance(record, DeviceLedgers):
        return "-", "-"
    return f"{record.least(delta):.4g}", f"{record.epsilon(delta):.4g}"
