"""`starling simulate --online`, and `starling verify` of what it made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from shared.canonical import document, finite
from shared.errors import ConfigError
from shared.printable import shell_word

if TYPE_CHECKING:
    from simulations.exploration.outcome import Row

# Options of any run that an online one takes too, and the settings that they are.
_TAKEN = {
    "users": "users",
    "epsilon": "epsilons",
    "seeds": "seeds",
    "delta": "delta",
    "backbone": "backbone",
}
_ALSO = ("config", "out", "quiet")


def simulate_online(asked: Mapping[str, Any], online: Mapping[str, Any], *, as_json: bool) -> None:
    """Run what flags and a file of settings ask for.

    Parameters
    ----------
    asked : mapping
        Options of `starling simulate`, by name.
    online : mapping
        `days` and `policies`.
    as_json : bool

    Raises
    ------
    ConfigError
        For an option that an online run has not, or a wrong value.
    """
    from simulations.exploration.run import run_online
    from simulations.exploration.settings import online_config, read_online

    other = [n for n, v in asked.items() if v not in (None, False) and n not in {*_TAKEN, *_ALSO}]
    if other:
        takes = ", ".join(f"--{name}" for name in (*_TAKEN, *online, *_ALSO))
        raise ConfigError(
            f"--{other[0].replace('_', '-')}: an online run has no such option; it takes {takes}"
        )
    file = asked["config"]
    tree = read_online(Path(file)) if file else {}
    tree |= {to: _plain(asked[name]) for name, to in _TAKEN.items() if asked[name] is not None}
    if online["days"] is not None:
        tree["days"] = online["days"]
    if online["policies"] is not None:
        tree["policies"] = online["policies"].split(",")
    config = online_config(tree, str(file or "--online"))
    folder = Path(asked["out"] or Path("runs") / f"online-{datetime.now():%Y%m%d-%H%M%S}")
    quiet = bool(asked["quiet"])
    rows = run_online(config, folder, _said if not quiet else _unsaid)
    if as_json:
        told = [finite(asdict(row)) for row in rows]
        typer.echo(document({"folder": str(folder), "config": config.stated(), "rows": told}))
    else:
        _show(rows, folder, config.days)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _said(text: str) -> None:
    typer.echo(text, err=True)


def _unsaid(_: str) -> None:
    return None


def _show(rows: Sequence[Row], folder: Path, days: int) -> None:
    from simulations.exploration.outcome import FIGURE, FILE, TABLE
    from simulations.show import figures, show_line, show_table

    first = rows[0].policy
    names = ("regret", "clicks", f"saved against {first}", "days to recover", "budget left")
    cells = [
        (
            row.policy,
            f"{row.epsilon:g}",
            str(row.regret),
            str(row.reward),
            "-" if row.saved is None else str(row.saved),
            "-" if row.recovered is None else str(row.recovered),
            "-" if row.epsilon == math.inf else f"{max(row.left, 0.0):.2g}",
        )
        for row in rows
    ]
    title = f"A person, all {days} days; ± 95% over worlds"
    show_table(("policy", *figures("epsilon", *names)), cells, title)
    show_line("Regret and clicks are the evaluator's, not released.")
    for name in (FIGURE, TABLE, FILE):
        show_line(f"  {folder / name}")
    show_line(f"Check it: starling verify {shell_word(folder)}")


def verify_online(folder: Path, key: str | None, as_json: bool) -> int:
    """Say whether an online run is what its ledgers say; the exit code.

    Raises
    ------
    DataError
        If it is no online run.
    """
    from simulations.exploration.check import check_online
    from simulations.show import figures, show_line, show_table
    from simulations.verify.run import AGREES, NOT_SHOWN, REFUTED, vouching

    report = check_online(folder)
    who, vouched, foreign = vouching(report.key, key)
    problems = [*report.problems, *([who] if foreign else [])]
    found = [
        (
            f"{row.point.policy}, epsilon {row.point.budget:g}, seed {row.point.seed}",
            f"{row.point.guarantee.get('delta')}"[:20],
            f"{row.point.epsilon:.4g}",
            "-" if row.epsilon is None else f"{row.epsilon:.4g}",
            "-" if row.rdp is None else f"{row.rdp:.4g}",
            "MISMATCH" if row.problems else "see below" if problems else "agrees",
        )
        for row in report.rows
    ]
    refuted = bool(problems) or not report.ok
    code = REFUTED if refuted else AGREES if vouched else NOT_SHOWN
    words = {
        REFUTED: "Claims, ledgers and files DISAGREE.",
        AGREES: "Claims, ledgers and files agree.",
        NOT_SHOWN: "NOT SHOWN: claims, ledgers and files agree as far as they go; see the lines "
        "above.",
    }
    lines = [
        f"{row[0]}: {reason}"
        for row, at in zip(found, report.rows, strict=True)
        for reason in at.problems
    ]
    if as_json:
        heads = ("point", "delta", "claimed", "epsilon", "epsilon_rdp", "verdict")
        told = [dict(zip(heads, row, strict=True)) for row in found]
        page = {"exit_code": code, "verdict": words[code], "rows": told, "reasons": lines}
        page |= {"problems": problems, "key": report.key, "signer": who, "vouched": vouched}
        typer.echo(document(page))
        return code
    title = "Privacy spent, recomputed from the ledgers"
    show_table(("point", *figures("delta", "claimed", "PLD", "RDP"), "verdict"), found, title)
    for line in [*lines, *problems, f"The run is {who}.", words[code]]:
        show_line(line)
    return code
