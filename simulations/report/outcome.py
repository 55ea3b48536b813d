"""What a person sees at the end of a sweep."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from shared.data.protocol import negatives_in_words, protocol_warnings
from shared.printable import shell_word
from shared.run_files import RunFolder
from simulations.console import Console
from simulations.report.released import released_lines
from simulations.report.statement import several_versions
from simulations.report.tables import example_epsilons, level
from simulations.results import Claim, Results
from simulations.summary import Interval, summarise

_METRICS = ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10")


def print_outcome(results: Results, directory: Path, console: Console | None = None) -> None:
    """The curve as a table, what its epsilons protect, and where everything lies."""
    console, run = console or Console(), RunFolder(directory)
    console.print(_table(results))
    for line in ranked(results):
        console.print(line, soft_wrap=True)
    for line in promises(results):
        console.print(line, soft_wrap=True)
    console.print("Metrics are the evaluator's, not released.", soft_wrap=True)
    for line in [*several_versions(results), *released_lines(results)]:
        console.print(line, soft_wrap=True)
    if run.personal.is_dir():
        own = "not noised; whoever publishes it publishes what devices keep for themselves"
        console.print(f"  {run.personal}  {own}", soft_wrap=True)
    for file in (run.report, run.curve, run.results):
        console.print(f"  {file}", soft_wrap=True)
    check = f"Check it: starling verify {shell_word(directory)}"
    console.print(check, soft_wrap=True)


def ranked(results: Results) -> list[str]:
    """Among what items were ranked, and what that takes from the figures."""
    words = f"HR and NDCG are {negatives_in_words(results.data)}; full: among all items."
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


def _table(results: Results) -> Table:
    data, beside = results.data, example_epsilons(results)
    table = Table(title=f"{data['name']}: {data['users']} users, {data['items']} items, test")
    table.add_column(_budget_heading(results))
    if beside:
        table.add_column("epsilon, example", justify="right")
    for name in ("HR@10", "NDCG@10", "full HR@10", "full NDCG@10"):
        table.add_column(name, justify="right")
    gap = [""] if beside else []
    for name, reference in results.references.items():
        metrics = reference.metrics
        table.add_row(name.replace("_", " "), *gap, *(f"{metrics[key]:.3f}" for key in _METRICS))
    table.add_section()
    for entry in summarise(results.points):
        target = entry.epsilon_target
        inner = [f"{beside[target]:.3g}" if target in beside else "-"] if beside else []
        cells = (_interval(entry.metrics[key]) for key in _METRICS)
        table.add_row(f"{target:g}", *inner, *cells)
    return table


def _budget_heading(results: Results) -> str:
    """The unit of the points' own epsilon; where there are two, the first is the points' own."""
    private = results.private_claims
    return f"epsilon, {private[0].get('unit')}" if private else "epsilon"


def _interval(metric: Interval) -> str:
    if metric.low is None or metric.high is None:
        return f"{metric.mean:.3f}"
    return f"{metric.mean:.3f} [{metric.low:.3f}, {metric.high:.3f}]"
