"""What every guarantee of a run costs at other deltas than its own."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.privacy.ledger.device_ledgers import DeviceLedgers
from simulations.verify.point import Record, VerifyRow
from simulations.verify.run import VerifyReport

OF_DEVICES = ("least of a device", "most of a device")


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
