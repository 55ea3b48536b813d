"""How strong the noise is beside the signal it hides, round by round."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from simulations.report.figures import INK, SHADES, STYLE
from simulations.report.tables import number, ordered
from simulations.results import Results

# One for each budget, which has a shade besides.
MARKERS = ("o", "s", "^", "D", "v")


def noise_figure(results: Results) -> tuple[Figure, dict[str, str]] | None:
    """Noise norm over signal norm by round, one line per private epsilon (its first seed).

    Returns
    -------
    figure : matplotlib.figure.Figure
    tips : dict of str to str
        What each line (`gid`) says. None instead of both if no point recorded both norms.
    """
    lines, tips = _lines(results), dict[str, str]()
    if not lines:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.0, 2.75))
        axes = figure.add_subplot()
        for index, (label, rounds, ratios) in enumerate(lines):
            gid = f"tip-{index}"
            first, last = number(ratios[0], 3), number(ratios[-1], 3)
            tips[gid] = (
                f"{label}: {first} in round {rounds[0]}, {last} in round {rounds[-1]}; "
                f"{number(min(ratios), 3)} to {number(max(ratios), 3)} over all"
            )
            axes.plot(
                rounds,
                ratios,
                gid=gid,
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
        axes.set_title(
            "Above the dashed line the noise is larger than the signal", loc="left", fontsize=8.5
        )
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        figure.subplots_adjust(left=0.16, right=0.8, top=0.9, bottom=0.17)
    return figure, tips


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
