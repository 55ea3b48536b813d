"""How strong the noise is beside the signal it hides, round by round."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from simulations.report.figures import INK, STYLE
from simulations.report.tables import number, ordered
from simulations.results import Results

# Light to dark with the budget, each with its own marker: readable in grey.
SHADES = ("#8FC7E8", "#4FA3D1", "#1F78B4", "#155A8A", "#0B3A5E")
MARKERS = ("o", "s", "^", "D", "v")


def noise_figure(results: Results) -> Figure | None:
    """Noise norm over signal norm by round, one line per private epsilon (its first seed).

    None if no point recorded both norms.
    """
    lines = _lines(results)
    if not lines:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 3.2))
        axes = figure.add_subplot()
        for index, (label, rounds, ratios) in enumerate(lines):
            axes.plot(
                rounds,
                ratios,
                color=SHADES[index % len(SHADES)],
                marker=MARKERS[index % len(MARKERS)],
                ms=4,
                lw=1.4,
                label=label,
            )
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.axhline(1.0, color=INK, lw=1.0, ls="--")
        axes.set_xlabel("round")
        axes.set_ylabel("noise norm / signal norm")
        axes.set_title("Above the dashed line the noise is larger than the signal", loc="left")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        figure.subplots_adjust(left=0.07, right=0.88, top=0.88, bottom=0.18)
    return figure


def _lines(results: Results) -> list[tuple[str, Sequence[int], Sequence[float]]]:
    lines: list[tuple[str, Sequence[int], Sequence[float]]] = []
    seen: set[float] = set()
    for point in ordered(results):
        epsilon = point.target
        if epsilon in seen or math.isinf(epsilon):
            continue
        pairs = [
            (int(entry["round"]), float(entry["noise_norm"]) / float(entry["signal_norm"]))
            for entry in point.history
            if entry.get("noise_norm") and entry.get("signal_norm")
        ]
        if pairs:
            seen.add(epsilon)
            lines.append((f"ε {number(epsilon)}", [r for r, _ in pairs], [v for _, v in pairs]))
    return lines
