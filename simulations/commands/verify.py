"""`starling verify`: the table for people, the exit code for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.canonical import document
from shared.errors import ConfigError, DataError
from shared.run_files import RunFolder, no_run
from simulations.commands import options

if TYPE_CHECKING:
    from shared.privacy.ledger.spent import Record
    from simulations.console import Console
    from simulations.verify.point import VerifyRow
    from simulations.verify.run import VerifyReport

_FIGURES = ("delta", "claimed", "PLD", "RDP", "PRV")
OF_DEVICES = ("least of a device", "most of a device")


WHY_THEY_DIFFER = (
    "PLD counts. RDP bounds the same loss by its moments alone, which is looser: larger. PRV is "
    "another program for the loss's whole distribution, and the upper end of its interval: up to "
    "about 0.02 above."
)


def verify(
    directory: Annotated[Path, typer.Argument(help="Folder of a run, or of an audit.")],
    key: Annotated[
        str | None,
        typer.Option(help="The public key that must have sealed it: hex, or a file."),
    ] = None,
    deltas: Annotated[
        str | None, typer.Option(help="Epsilon at these too, such as 1e-4,1e-6.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="A new page of the run, with what was found at its head.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Recompute every epsilon of a run from its ledgers, and check all that it hands on.

    Of an audit's folder: whether it is as its auditor sealed it, about the run beside it. Of a
    private search's (tune --private): every run of it, and what all of them cost together. Of an
    online run's: the same as of any run, from online.json.

    Exit code 0: shown. 3: something disagrees. 4: nothing disagrees, but the run is incomplete,
    nobody vouches for the key, devices keep the ledgers, a real run does not tell what its ledger
    counted, or what an audit is of is not beside it.
    """
    chosen = [] if deltas is None else options.deltas(deltas)
    from simulations.show import waiting

    with waiting("reading ledgers and asking the accountants"):
        from client.device.covered import typed_key
        from simulations.audit.outcome import FILE
        from simulations.commands.online import verify_online
        from simulations.exploration.outcome import FILE as ONLINE
        from simulations.searched import TOTAL
        from simulations.verify.run import verify_run

        named = None if key is None else typed_key("--key", key)
        if (directory / FILE).is_file():
            if chosen:
                raise ConfigError("--deltas: an audit has no ledger; give the run's folder")
            if report is not None:
                raise ConfigError("--report: an audit has a page of its own; give the run's folder")
            raise typer.Exit(_of_audit(directory, named, as_json))
        if (directory / TOTAL).is_file():
            if chosen or report is not None:
                given = "--deltas" if chosen else "--report"
                raise ConfigError(
                    f"{given}: of a search, give one run's folder: {directory}/trial-0"
                )
            raise typer.Exit(_of_search(directory, named, as_json))
        if (directory / ONLINE).is_file():
            if chosen or report is not None:
                flag = "--deltas" if chosen else "--report"
                raise ConfigError(f"{flag}: an online run has none; leave it out")
            raise typer.Exit(verify_online(directory, named, as_json))
        if not directory.is_dir() or not RunFolder(directory).results.exists():
            raise DataError(f"{directory}: {no_run(directory, RunFolder(directory).results.name)}")
        found = _filed(directory, named, report) if report else verify_run(directory, named)
    if as_json:
        typer.echo(document(plain(found, chosen)))
    else:
        print_report(found)
        if chosen:
            print_deltas(found, chosen)
    raise typer.Exit(found.exit_code)


def _filed(directory: Path, key: str | None, file: Path) -> VerifyReport:
    """What was found, which a new page says at its head."""
    from simulations.commands.filed import check_new, write_page  # draws
    from simulations.verify.run import verify_run

    check_new(file, directory)
    found = verify_run(directory, key)
    write_page(file, found, findings(found))
    return found


def _of_audit(folder: Path, key: str | None, as_json: bool) -> int:
    """Say whether an audit is what was sealed; the exit code."""
    from simulations.audit.again import check_audit
    from simulations.show import show_line

    report = check_audit(folder, key)
    found = report.audit
    if as_json:
        told = {"exit_code": report.exit_code, "verdict": report.verdict, "key": report.key}
        told |= {"problems": report.problems, "vouched": report.vouched, "signer": report.signer}
        typer.echo(document(told | {"beside": report.beside, "audit": found.stated()}))
        return report.exit_code
    for problem in report.problems:
        show_line(problem)
    about = found.subject
    show_line(
        f"An audit of {about.get('kind')} {about.get('name')}, {found.settings.get('created')}."
    )
    show_line(f"It is {report.signer}.")
    show_line(report.verdict)
    return report.exit_code


def _of_search(folder: Path, key: str | None, as_json: bool) -> int:
    """Say whether a private search is what it claims; the exit code."""
    from shared.privacy.sentences import searched
    from simulations.show import figures, show_line, show_table
    from simulations.verify.search import check_search

    report = check_search(folder, key)
    total, claims = report.total, report.claims
    if as_json:
        told = {name: vars(report)[name] for name in ("problems", "signer", "vouched")}
        told |= {"exit_code": report.exit_code, "verdict": report.verdict}
        told["claims"] = {name: of for name, of in claims.stated.items() if name != "seal"}
        told["total"] = total and {n: of for n, of in vars(total).items() if n != "guarantee"}
        told["runs"] = {name: plain(run, ()) for name, run in report.runs.items()}
        typer.echo(document(told))
        return report.exit_code
    rows = [
        (name, *(f"{row.claimed:.4g}", f"{row.epsilon or 0:.4g}"), _verdict(row, run))
        for name, run in report.runs.items()
        for row in run.rows
    ]
    if total is not None:
        rows.append(("all together", f"{claims.number('epsilon'):.4g}", f"{total.epsilon:.4g}", ""))
    columns = ("run", *figures("claimed", "PLD"), "verdict")
    show_table(columns, rows, "Privacy spent, recomputed from the ledgers")
    for problem in report.problems:
        show_line(problem)
    for name, run in report.runs.items():
        for told_of_it in findings(run):
            show_line(f"{name}: {told_of_it}")
    show_line(f"The search is {report.signer}.")
    if total is not None:
        show_line(searched(len(report.runs), total.epsilon, total.guarantee.delta))
    show_line(report.verdict)
    return report.exit_code


def plain(report: VerifyReport, deltas: Sequence[float]) -> dict[str, object]:
    """The report as JSON has it: all that is printed, figures in full."""
    rows = [
        {
            "point": row.point,
            "promise": row.promise,
            "delta": row.delta,
            "claimed": row.claimed if row.claimed > 0 else None,
            "epsilon": row.epsilon,
            "epsilon_rdp": row.epsilon_rdp,
            "epsilon_prv": row.epsilon_prv,
            "at_deltas": {f"{d:g}": row.record.epsilon(d) for d in deltas if row.record},
            "verdict": _verdict(row, report),
            "reasons": row.reasons,
        }
        for row in report.rows
    ]
    return {
        "exit_code": report.exit_code,
        "verdict": report.verdict,
        "rows": rows,
        "problems": report.problems,
        "complete": report.complete,
        "planned": report.planned,
        "in_progress": report.in_progress,
        "unsealed": report.unsealed,
        "premises": report.premises,
        "key": report.key,
        "vouched": report.vouched,
        "signer": report.signer,
    }


def print_report(report: VerifyReport, console: Console | None = None) -> None:
    """A table of the points, then everything that disagrees, then who vouches for it."""
    from simulations.show import figures, show_line, show_table

    rows = []
    for row in report.rows:
        spent = (row.delta, row.claimed, row.epsilon, row.epsilon_rdp, row.epsilon_prv)
        cells = ["-" if value is None else f"{value:.4g}" for value in spent]
        rows.append((row.point, row.promise, *cells, _verdict(row, report)))
    columns = ("point", "unit, trust", *figures(*_FIGURES), "verdict")
    show_table(columns, rows, "Privacy spent, recomputed from the ledgers", console)

    def line(text: str) -> None:
        show_line(text, console)

    line(WHY_THEY_DIFFER)
    for told in findings(report):
        line(told)
    line(f"The run is {report.signer}.")
    for told in report.premises:
        line(told)
    line("Each point is a release of its own; whoever sees several of them adds up their losses.")
    line(report.verdict)


def findings(report: VerifyReport) -> list[str]:
    """Everything that disagrees, and then what is not shown: a line each."""
    lines = [f"{row.point}: {reason}" for row in report.rows for reason in row.reasons]
    lines += [
        f"{row.point}: each device's own ledger shows it (starling policy spent), no other"
        for row in report.rows
        if row.ok and row.record is None
    ]
    lines += [f"{row.point}: NOT SHOWN: {told}" for row in report.rows for told in row.withheld]
    lines += [*report.problems, *report.in_progress, *report.unsealed]
    if not report.complete:
        lines.append(
            f"INCOMPLETE: {len(report.rows)} of {report.planned} planned points; of the others "
            "nothing is claimed and nothing shown. Finish it (a simulation: simulate --resume)."
        )
    return lines


def _verdict(row: VerifyRow, report: VerifyReport) -> str:
    """Of one point; where the run as a whole is wrong, no point of it is as good as shown."""
    if not row.ok:
        return "MISMATCH"
    if report.problems:
        return "see below"
    if row.withheld:
        return "not told"
    return "agrees" if row.shown else "not here"


def print_deltas(
    report: VerifyReport, deltas: Sequence[float], console: Console | None = None
) -> None:
    """One row for each guarantee and delta; of devices, what the least and the most spent.

    A guarantee holds at every delta at once: these are points of one and the same curve.
    """
    from simulations.show import figures, show_table

    cells = [
        (row.point, row.promise, f"{delta:g}", *_cells(row, delta))
        for row in report.rows
        for delta in deltas
    ]
    devices = any(found[-1] != "-" for found in cells)
    columns = ("point", "unit, trust", *figures("delta", "epsilon", *OF_DEVICES))
    kept = len(columns) - (0 if devices else len(OF_DEVICES))
    title = "The same ledgers at other deltas, by the accountant that counts"
    show_table(columns[:kept], [found[:kept] for found in cells], title, console)


def _cells(row: VerifyRow, delta: float) -> tuple[str, str, str]:
    if row.record is None:
        return "-", "-", "-"
    spent = f"{row.record.epsilon(delta):.4g}"
    return spent, *_of_devices(row.record, delta)


def _of_devices(record: Record, delta: float) -> tuple[str, str]:
    from shared.privacy.ledger.device_ledgers import DeviceLedgers

    if not isinstance(record, DeviceLedgers):
        return "-", "-"
    return f"{record.least(delta):.4g}", f"{record.epsilon(delta):.4g}"
