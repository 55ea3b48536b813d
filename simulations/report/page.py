"""The report: one self-contained HTML file that opens anywhere and asks nobody for anything."""

from __future__ import annotations

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

from shared.data.protocol import DRAWN, FULL, negatives_in_words
from shared.files import write_atomically
from shared.printable import printable
from shared.privacy.sentences import FALSE_ALARM
from shared.run_files import RunFolder
from simulations.compare import remarks, rule
from simulations.report import released, statement, tables
from simulations.report.curve import curve_figure
from simulations.report.figures import inline_svg
from simulations.report.gains import gain_rows
from simulations.report.rounds import noise_figure
from simulations.results import Results
from simulations.unlike import what_differs


def write_report(results: Results, directory: Path) -> Path:
    """Write `report.html` into a run's folder.

    Parameters
    ----------
    results : Results
        Optional keys may be missing; what is missing is shown as a dash or left out.
    directory : pathlib.Path
        An existing folder.

    Returns
    -------
    pathlib.Path
        The file written. No part of it comes from outside: style and figures are inside.
    """
    path = RunFolder(directory).report
    write_atomically(path, render(results))
    return path


def render(results: Results) -> str:
    """The page as text; every value from the results is escaped."""
    return template().render(_view(results))


def template(*pages: BaseLoader) -> Template:
    """`page.html` of the first loader, escaped; `style.css` is the report's."""
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


def _view(results: Results) -> dict[str, Any]:
    data = results.data
    return {
        "data_name": data.get("name") or data.get("spec") or "data not named",
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
        "curve": _curve(results),
        "metric_labels": tables.METRIC_LABELS,
        "accuracy": tables.accuracy_rows(results),
        "references": tables.reference_rows(results),
        "gains": gain_rows(results),
        "remarks": remarks(results),
        "rule": rule(results),
        "differs": what_differs(results),
        "released": released.released_rows(results),
        "popularity": released.popularity_rows(results),
        "privacy": tables.privacy_rows(results),
        "false_alarm": f"{100 * FALSE_ALARM:g}%",
        "noise": tables.noise_rows(results),
        "noise_curve": _noise(results),
        "costs": tables.cost_rows(results),
        "ledgers": tables.ledger_rows(results),
        "settings": list(tables.settings_rows(results.config)),
        "environment": list(tables.settings_rows(results.table("environment"))),
        "statuses": tables.distinct(results.points, "metrics_status"),
    }


def _curve(results: Results) -> Markup | None:
    if not results.points:
        return None
    figure, tips = curve_figure(results)
    description = "Ranking accuracy against privacy budget; the tables below hold the same numbers."
    return inline_svg(figure, "curve", description, tips)


def _noise(results: Results) -> Markup | None:
    figure = noise_figure(results)
    if figure is None:
        return None
    return inline_svg(figure, "noise", "Noise norm over signal norm by round.", {})
