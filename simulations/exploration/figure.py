"""Regret by day, and regret against the budget: `online.png`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulations.exploration.outcome import Mean, Point, Row

_COLOURS = ("#B34E00", "#0072B2", "#00795C", "#A6548A", "#666666", "#56B4E9")  # Okabe and Ito
_DASHES = ("--", "-", "-.", ":", (0, (8, 3)), (0, (1, 1)))
_STYLE: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def draw_online(points: Sequence[Point], rows: Sequence[Row], shift: int, file: Path) -> None:
    """One panel of regret by day for the largest budget and the least, one of both by budget."""
    policies = list(dict.fromkeys(row.policy for row in rows))
    budgets = sorted({row.epsilon for row in rows})
    shown = list(dict.fromkeys([budgets[-1], budgets[0]]))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.6 * (len(shown) + 1), 3.2), layout="constrained")
        panels = figure.subplots(1, len(shown) + 1, squeeze=False)[0]
        for panel, budget in zip(panels, shown, strict=False):
            _by_day(panel, points, policies, budget)
            panel.set_title(f"epsilon {budget:g}" if budget < math.inf else "without noise")
            if shift:
                panel.axvline(shift, color="#999999", linewidth=0.8, linestyle=":")
        _by_budget(panels[-1], rows, policies, budgets)
        panels[0].legend(frameon=False)
        figure.savefig(file, dpi=150, metadata={"Software": None})


def _by_day(panel: Axes, points: Sequence[Point], policies: Sequence[str], budget: float) -> None:
    for place, policy in enumerate(policies):
        own = [p.course.regret for p in points if p.policy == policy and p.budget == budget]
        days = [Mean.of(day) for day in np.transpose(own).tolist()]
        at = range(len(days))
        style: dict[str, Any] = {"color": _COLOURS[place % 6], "linestyle": _DASHES[place % 6]}
        panel.plot(at, [day.mean for day in days], label=policy, **style)
        if days[0].low is not None:
            low, high = [day.low or 0 for day in days], [day.high or 0 for day in days]
            panel.fill_between(at, low, high, color=style["color"], alpha=0.15, linewidth=0)
    panel.set_xlabel("day")
    panel.set_ylabel("regret of a day, clicks a person")
    panel.set_ylim(bottom=0)


def _by_budget(
    panel: Axes, rows: Sequence[Row], policies: Sequence[str], budgets: Sequence[float]
) -> None:
    for place, policy in enumerate(policies):
        own = {row.epsilon: row.regret for row in rows if row.policy == policy}
        at = [budgets.index(epsilon) + 0.08 * place for epsilon in own]
        half = [0.0 if m.high is None else m.high - m.mean for m in own.values()]
        style: dict[str, Any] = {"color": _COLOURS[place % 6], "linestyle": _DASHES[place % 6]}
        means = [mean.mean for mean in own.values()]
        panel.errorbar(at, means, half, marker="o", markersize=4, capsize=2, **style)
    panel.set_xticks(range(len(budgets)), [f"{epsilon:g}" for epsilon in budgets])
    panel.set_xlabel("epsilon of a lifetime, user level")
    panel.set_ylabel("regret of all days")
    panel.set_ylim(bottom=0)
    panel.set_title("95% over worlds")
