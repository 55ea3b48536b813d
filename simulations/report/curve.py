"""Accuracy against privacy budget: the figure that a sweep exists for."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shared.data.protocol import FULL, negatives_in_words, protocol_warnings
from shared.files import write_atomically
from simulations.report.figures import (
    FADED,
    INK,
    MODEL,
    REFERENCES,
    STYLE,
    any_letters,
    reference_style,
    spread,
)
from simulations.report.tables import axis_label, example_epsilons, levels, number, scope
from simulations.results import Point, Reference, Results
from simulations.summary import Entry, summarise
from simulations.unlike import what_differs

METRICS = (("hr@10", "HR@10"), ("ndcg@10", "NDCG@10"))
SEED_OFFSET = 0.045  # of the axis
_LINE = 0.165  # inches: of a label's height, and what is between it and the next


def draw_curve(results: Results, path: Path) -> None:
    """Write the curve of a sweep as PNG.

    Parameters
    ----------
    results : Results
    path : pathlib.Path
        The file to write, such as `curve.png`.
    """
    figure, _ = curve_figure(results)
    picture = io.BytesIO()
    with mpl.rc_context(STYLE), any_letters():
        figure.savefig(picture, format="png", dpi=150)
    write_atomically(path, picture.getvalue())


def curve_figure(results: Results) -> tuple[Figure, dict[str, str]]:
    """The figure, and a tooltip for each marked group (`gid`) in it.

    One row of panels ranks the target among sampled negatives, one, where measured, among the
    whole catalogue. The horizontal axis is the logarithm of epsilon, with infinity set apart.
    """
    rows = _rankings(results)
    with mpl.rc_context(STYLE):
        caption = _caption(results)
        below = 0.95 + 0.16 * len(caption.splitlines())  # inches, with the axes' labels
        figure = Figure(figsize=(11.0, below + 3.25 * len(rows)))
        panels = figure.subplots(len(rows), 2, squeeze=False)
        tips: dict[str, str] = {}
        for (prefix, against), pair in zip(rows, panels, strict=True):
            for (metric, label), axes in zip(METRICS, pair, strict=True):
                _panel(axes, results.points, results.references, prefix + metric, tips)
                axes.set_title(f"{label}, {against}", loc="left")
        for axes in panels[-1]:
            axes.set_xlabel(f"{axis_label(results)}\n(logarithmic; smaller protects more)")
        height = figure.get_figheight()
        figure.subplots_adjust(
            left=0.045,
            right=0.87,
            wspace=0.46,
            hspace=0.3,
            top=1 - 0.35 / height,
            bottom=below / height,
        )
        figure.text(0.045, 0.12 / height, caption, va="bottom", fontsize=8.5, color=INK)
    return figure, tips


def panel_figure(results: Results, metric: str, title: str) -> tuple[Figure, dict[str, str]]:
    """One panel of the curve as a figure of a phone's width, and what each mark in it says.

    Parameters
    ----------
    results : Results
    metric : str
        As points name it, such as `hr@10` or `full_ndcg@10`.
    title : str
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.0, 2.75))
        axes, tips = figure.add_subplot(), dict[str, str]()
        _panel(axes, results.points, results.references, metric, tips)
        axes.set_title(title, loc="left", fontsize=9.5)
        units = " and ".join(f"{unit}-level" for unit, _ in levels(results.points))
        axes.set_xlabel(f"ε{', ' if units else ''}{units} (logarithmic; smaller protects more)")
        axes.xaxis.label.set(x=0.0, horizontalalignment="left", fontsize=9)
        figure.subplots_adjust(left=0.115, right=0.67, top=0.9, bottom=0.19)
    return figure, tips


def positions(epsilons: Sequence[float]) -> dict[float, float]:
    """Where each epsilon stands on the axis: log10, and infinity beyond the largest."""
    finite = [math.log10(epsilon) for epsilon in epsilons if math.isfinite(epsilon)]
    places = {epsilon: math.log10(epsilon) for epsilon in epsilons if math.isfinite(epsilon)}
    if any(math.isinf(epsilon) for epsilon in epsilons):
        gap = max(0.3, 0.22 * (max(finite) - min(finite))) if finite else 0.0
        places[math.inf] = max(finite, default=0.0) + gap
    return places


def _rankings(results: Results) -> list[tuple[str, str]]:
    """Metric prefix and description of each ranking that was measured."""
    rows = [("", negatives_in_words(results.data).partition(" (")[0])]  # the caption has the rest
    if any("full_hr@10" in point.metrics for point in results.points):
        rows.append(("full_", FULL))
    return rows


def _panel(
    axes: Axes,
    points: Sequence[Point],
    references: Mapping[str, Reference],
    metric: str,
    tips: dict[str, str],
) -> None:
    measured = [point for point in points if metric in point.metrics]
    entries = summarise(measured)
    place = positions([entry.epsilon_target for entry in entries])
    top = _means(axes, entries, place, metric, tips)
    _epsilon_axis(axes, place)
    if any(len(entry.seeds) > 1 for entry in entries):
        _seeds(axes, measured, place, metric)
    known = {
        name: float(reference.metrics[metric])
        for name, reference in references.items()
        if metric in reference.metrics
    }
    axes.set_ylim(0.0, min(1.0, 1.12 * max([top, *known.values()], default=1.0)) or 1.0)
    _reference_lines(axes, known)


def _means(
    axes: Axes,
    entries: Sequence[Entry],
    place: Mapping[float, float],
    metric: str,
    tips: dict[str, str],
) -> float:
    """Mean and interval of every epsilon, and a line along them; returns the highest value."""
    path = [(place[entry.epsilon_target], entry.metrics[metric].mean) for entry in entries]
    private = [xy for xy, entry in zip(path, entries, strict=True) if _is_private(entry)]
    axes.plot([x for x, _ in private], [y for _, y in private], color=MODEL, zorder=3)
    # No line leads to infinity, which has no place on this scale and may be of another model.
    highest = 0.0
    for (x, mean), entry in zip(path, entries, strict=True):
        low, high = entry.metrics[metric].low, entry.metrics[metric].high
        if low is not None and high is not None:
            axes.errorbar(
                [x], [mean], yerr=[[mean - low], [high - mean]], color=MODEL, capsize=4, zorder=4
            )
        shape, fill = ("o", MODEL) if _is_private(entry) else ("s", "white")
        (marker,) = axes.plot(
            [x], [mean], shape, ms=8, mec=MODEL, mfc=fill, mew=1.8, zorder=5, clip_on=False
        )
        gid = f"tip-{len(tips)}"
        marker.set_gid(gid)
        tips[gid] = _tip(entry, metric)
        highest = max(highest, mean, high or 0.0)
    return highest


def _seeds(axes: Axes, points: Sequence[Point], place: Mapping[float, float], metric: str) -> None:
    low, high = axes.get_xlim()
    axes.plot(
        # beside the mean, so that neither hides the other
        [place[point.target] + SEED_OFFSET * (high - low) for point in points],
        [point.metrics[metric] for point in points],
        "o",
        ms=3.5,
        color=FADED,
        zorder=6,
    )


def _epsilon_axis(axes: Axes, place: Mapping[float, float]) -> None:
    labels = [number(epsilon) if math.isfinite(epsilon) else "∞" for epsilon in place]
    axes.set_xticks(list(place.values()), labels)
    if place:
        pad = max(0.12, 0.06 * (max(place.values()) - min(place.values())))
        axes.set_xlim(min(place.values()) - pad, max(place.values()) + pad)
    finite = [epsilon for epsilon in place if math.isfinite(epsilon)]
    if math.inf in place and finite:
        middle = (place[max(finite)] + place[math.inf]) / 2
        axes.axvline(middle, color=FADED, lw=0.8, ls=(0, (1, 3)), zorder=1)
    if math.inf in place:
        axes.text(
            place[math.inf],
            0.02,
            "not private",
            transform=axes.get_xaxis_transform(),
            ha="center",
            fontsize=8,
            color=INK,
        )


def _reference_lines(axes: Axes, known: Mapping[str, float]) -> None:
    bottom, top = axes.get_ylim()
    order = sorted(known, key=lambda name: known[name])
    tall = axes.bbox.height / axes.figure.dpi
    heights = spread([known[name] for name in order], least=_LINE / tall * (top - bottom))
    for name, height in zip(order, heights, strict=True):
        style = reference_style(name)
        axes.axhline(known[name], color=style.colour, ls=style.dashes, lw=1.4, zorder=2)
        axes.annotate(
            f"{style.label} {known[name]:.3f}",
            xy=(1.0, known[name]),
            xytext=(1.05, height),
            xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=8.5,
            color=style.colour,
            annotation_clip=False,
            arrowprops={
                **{"arrowstyle": "-", "color": style.colour, "lw": 0.7},
                **{"shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)},
            },
        )


def _tip(entry: Entry, metric: str) -> str:
    value, target = entry.metrics[metric], number(entry.epsilon_target)
    budget = f"ε {target} (spent {entry.epsilon:.3f})" if _is_private(entry) else "not private"
    if value.low is None or value.high is None:
        return f"{budget}: {metric} {value.mean:.4f}"
    interval = f"95% over {entry.interval}: {value.low:.4f} to {value.high:.4f}"
    return f"{budget}: {metric} {value.mean:.4f}; {interval}"


def _is_private(entry: Entry) -> bool:
    return math.isfinite(entry.epsilon_target)


def caption_of(results: Results) -> list[str]:
    """How a panel of the curve is read: sentences."""
    lines = []
    kinds = list(dict.fromkeys(entry.interval for entry in summarise(results.points)))
    if kinds:
        lines.append(f"Bars: 95% interval of the mean over {' or '.join(kinds)}.")
    if any(kind.endswith("seeds") for kind in kinds):
        lines.append("Small dots: each seed.")
    lines.append("Vertical axes begin at 0 and end above the highest mark, not at 1.")
    if any(name in REFERENCES for name in results.references):
        lines.append("Horizontal lines: reference points, without noise and without a budget.")
        lines.append("Their own intervals are not drawn; the report's tables hold them.")
    if any(not point.private for point in results.points):
        lines.append("∞ has no place on the axis: the square stands apart, beyond the dotted line.")
    return lines


def _caption(results: Results) -> str:
    """What the figure shows, for whom the budget holds, and what the bars are."""
    lines = [scope(results)]
    for target, inner in sorted(example_epsilons(results).items()):
        lines.append(f"At user-level ε {number(target)}, example-level ε is {number(inner)}.")
    lines += [*caption_of(results), *what_differs(results, settings=False)]
    lines += protocol_warnings(results.data)
    lines.append("Measured for the evaluator on private data; not covered by ε, not for release.")
    if not results.complete:
        lines.append("INCOMPLETE RUN: not every planned point is drawn.")
    return "\n".join(textwrap.wrap(" ".join(lines), width=150))
