"""What a person sees at the end of a sweep."""

from __future__ import annotations

from pathlib import Path

from rich.table import Column

from shared.data.protocol import FULL, negatives_in_words, protocol_warnings
from shared.printable import shell_word
from shared.run_files import RunFolder
from simulations.compare import METRICS, remarks, rule
from simulations.console import Console
from simulations.report.figures import reference_style
from simulations.report.gains import gain_lines
from simulations.report.released import released_lines
from simulations.report.statement import several_versions
from simulations.report.tables import example_epsilons, level
from simulations.results import Claim, Results
from simulations.show import figures, show_line, show_table
from simulations.summary import Interval, summarise
from simulations.unlike import what_differs


def print_outcome(results: Results, directory: Path, console: Console | None = None) -> None:
    """The curve as a table, what its epsilons protect, and where everything lies."""
    console, run = console or Console(), RunFolder(directory)
    _show_metrics(results, console)
    _show_gains(results, console)
    lines = [*ranked(results), *what_differs(results), *remarks(results), rule(results)]
    lines += [*promises(results), *results.premises, "Metrics are the evaluator's, not released."]
    lines += [*several_versions(results), *released_lines(results)]
    if run.personal.is_dir():
        own = "not noised; whoever publishes it publishes what devices keep for themselves"
        lines.append(f"  {run.personal}  {own}")
    lines += [f"  {file}" for file in (run.report, run.curve, run.results)]
    for line in [*lines, f"Check it: starling verify {shell_word(directory)}"]:
        show_line(line, console)


def ranked(results: Results) -> list[str]:
    """Among what items were ranked, and what that takes from the figures."""
    words = f"HR and NDCG are {negatives_in_words(results.data)}; full: {FULL}."
    return [words, *(f"Warning: {told}" for told in protocol_warnings(results.data))]


def promises(results: Results) -> list[str]:
    """One line for each guarantee that the private points give: its unit first."""
    lines = [
        f"{level(str(claim.get('unit'))).capitalize()} epsilon{_together(claim)} "
        f"({claim.get('relation')}, delta {claim.number('delta'):g}, {claim.get('trust')} trust)"
        f"{_against(claim)}."
        for claim in results.private_claims
    ]
    return list(dict.fromkeys(lines)) or ["Nothing is protected: no point is private."]


def _against(claim: Claim) -> str:
    return f", against {claim.get('adversary')}" if claim.get("adversary") else ""


def _together(claim: Claim) -> str:
    size = claim.get("group_size", 1)
    return f" of groups of {size}" if size != 1 else ""


def _show_metrics(results: Results, console: Console) -> None:
    data, beside = results.data, example_epsilons(results)
    inner = ("epsilon, example",) if beside else ()
    gap, rows = [""] * len(inner), list[list[str] | None]()
    for name, reference in results.references.items():
        cells = (f"{reference.metrics[key]:.3f}" for key in METRICS)
        rows.append([reference_style(name).label, *gap, *cells])
    rows += [None] if rows else []
    entries = summarise(results.points)
    for entry in entries:
        target = entry.epsilon_target
        found = [f"{beside[target]:.3g}" if target in beside else "-"] if beside else []
        cells = (_interval(entry.metrics[key]) for key in METRICS)
        rows.append([f"{target:g}", *found, *cells])
    columns: list[str | Column] = [_budget_heading(results), *figures(*inner, *METRICS.values())]
    kinds = " and ".join(dict.fromkeys(entry.interval for entry in entries))
    title = f"{data['name']}: {data['users']} users, {data['items']} items, test"
    show_table(columns, rows, f"{title}; ± 95% over {kinds}" if kinds else title, console)


def _show_gains(results: Results, console: Console) -> None:
    """HR@10 above what needs no training, and which part of that the same model has without noise.

    The lines below say of all metrics which differences are shown.
    """
    names, rows = gain_lines(results)
    if names:
        title = "HR@10 above, ± 95% (share of the same model's without noise)"
        show_table(("epsilon", *figures(*names)), rows, title, console)


def _budget_heading(results: Results) -> str:
    """The unit of the points' own epsilon; where there are two, the first is the points' own."""
    private = results.private_claims
    return f"epsilon, {private[0].get('unit')}" if private else "epsilon"


def _interval(metric: Interval) -> str:
    """The mean and the longer side of its interval."""
    if metric.low is None or metric.high is None:
        return f"{metric.mean:.3f}"
    return f"{metric.mean:.3f} ±{max(metric.high - metric.mean, metric.mean - metric.low):.3f}"
