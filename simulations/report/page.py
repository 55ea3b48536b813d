"""The report: one self-contained HTML file that opens anywhere and asks nobody for anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    PackageLoader,
    StrictUndefined,
    Template,
)
from markupsafe import Markup

from shared.config.places import without_places
from shared.data.protocol import DRAWN, FULL, negatives_in_words
from shared.files import write_atomically
from shared.printable import printable
from shared.privacy import sentences
from shared.privacy.sentences import FALSE_ALARM
from shared.run_files import RunFolder
from simulations.compare import remarks, rule
from simulations.report import promises, released, statement, tables
from simulations.report.curve import caption_of, panel_figure
from simulations.report.figures import inline_svg
from simulations.report.gains import gain_rows
from simulations.report.rounds import noise_figure
from simulations.report.standing import Standing
from simulations.results import Results
from simulations.unlike import what_differs

TITLES = {
    "limits": "What the figures of accuracy do not show",
    "budgets": "The budgets of every model",
    "protected": "What is protected, and against whom",
    "check": "Who vouches for it, and how to check",
    "accuracy": "Accuracy against privacy budget",
    "gains": "What training brought",
    "released": "Accuracy that was released",
    "popularity": "The released histogram alone",
    "noise": "Noise beside signal",
    "costs": "Communication and time",
    "settings": "Data, settings and environment",
}
"""By place in the page, in their order; the list of contents names those that are there."""


def write_report(results: Results, directory: Path, standing: Standing | None = None) -> Path:
    """Write `report.html` into a run's folder.

    Parameters
    ----------
    results : Results
        Optional keys may be missing; what is missing is shown as a dash or left out.
    directory : pathlib.Path
        An existing folder.
    standing : Standing, optional
        Who has checked it; nobody, and no date, where it is left out.

    Returns
    -------
    pathlib.Path
        The file written. No part of it comes from outside: style and figures are inside.
    """
    path = RunFolder(directory).report
    write_atomically(path, render(results, standing))
    return path


def render(results: Results, standing: Standing | None = None) -> str:
    """The page as text; every value from the results is escaped."""
    return template().render(_view(results, standing or Standing()))


def template(*pages: BaseLoader) -> Template:
    """`page.html` of the first loader, escaped; what all pages share is the report's."""
    environment = Environment(
        loader=ChoiceLoader([*pages, PackageLoader("simulations.report", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _shown(value: Any) -> Any:
    """Text that turns the page's direction, or breaks its markup, is shown instead of obeyed."""
    return printable(value) if type(value) is str else value


def _view(results: Results, standing: Standing) -> dict[str, Any]:
    view = _filled(results, standing)
    there = [place for place in TITLES if view.get(place, True)]
    return {**view, "contents": [(place, TITLES[place]) for place in there]}


def _filled(results: Results, standing: Standing) -> dict[str, Any]:
    data = results.data
    return {
        "standing": standing,
        "complete": results.complete,
        "titles": TITLES,
        "promises": promises.promise_rows(results),
        "nothing": sentences.nothing(),
        "limits": statement.limits(results),
        "budgets": promises.budget_rows(results),
        "caption": caption_of(results),
        "simulated": results.simulated,
        "headline": "What privacy costs" if results.simulated else "What was promised",
        "name": data.get("name") or data.get("spec") or results.get("name", "data not named"),
        "data": [(key, tables.number(value)) for key, value in data.items() if key != DRAWN],
        "ranked": negatives_in_words(data),
        "full": FULL,
        "version": results.get("starling", "unknown"),
        "scope": tables.scope(results),
        "warnings": statement.warnings(results),
        "protected": statement.protected(results),
        "adversaries": statement.adversaries(results),
        "unprotected": statement.unprotected(results),
        "budget": f"ε: {tables.axis_label(results)}",
        "panels": _panels(results),
        "metric_labels": tables.METRIC_LABELS,
        "accuracy": tables.accuracy_rows(results) if results.simulated else [],
        "references": tables.reference_rows(results),
        "gains": gain_rows(results),
        "remarks": remarks(results),
        "rule": rule(results),
        "differs": what_differs(results),
        "released": released.released_rows(results),
        "popularity": released.popularity_rows(results),
        "false_alarm": f"{100 * FALSE_ALARM:g}%",
        "noise": tables.noise_rows(results),
        "noise_curve": _noise(results),
        "costs": tables.cost_rows(results) if results.simulated else [],
        "ledgers": tables.ledger_rows(results),
        "settings": list(tables.settings_rows(without_places(results.config))),
        "environment": list(tables.settings_rows(results.table("environment"))),
        "statuses": tables.distinct(results.points, "metrics_status"),
    }


def _panels(results: Results) -> list[Markup]:
    """A figure for each metric that was measured: HR@10 first."""
    return [
        _panel(results, metric, label)
        for metric, label in tables.METRIC_LABELS.items()
        if any(metric in point.metrics for point in results.points)
    ]


def _panel(results: Results, metric: str, label: str) -> Markup:
    among = negatives_in_words(results.data).partition(" (")[0]  # the table has the rest
    title = label if metric.startswith("full_") else f"{label}, {among}"
    figure, tips = panel_figure(results, metric, title)
    description = f"{label} against privacy budget; the tables below hold the same numbers."
    return inline_svg(figure, re.sub(r"\W", "-", metric), description, tips)


def _noise(results: Results) -> Markup | None:
    drawn = noise_figure(results)
    if drawn is None:
        return None
    return inline_svg(drawn[0], "noise", "Noise norm over signal norm by round.", drawn[1])
