"""Theory against evidence: the epsilon that is claimed, and what attacks could show of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simulations.audit.attacks.reconstruction import LEAK
from simulations.audit.findings import Finding
from simulations.audit.outcome import Audit, Part
from simulations.report.figures import FADED, INK, MODEL, STYLE

_ACROSS = 2  # panels in a row


@dataclass(frozen=True)
class _Kind:
    label: str
    marker: str
    colour: str
    face: str


_KINDS = {
    "any": _Kind("bound, any mechanism", "o", MODEL, MODEL),
    "gaussian": _Kind("bound, if Gaussian", "s", MODEL, "white"),
    "estimate": _Kind("an estimate, no bound", "x", INK, INK),
}


def evidence_panels(audit: Audit) -> list[tuple[Figure, dict[str, str]]]:
    """A figure for each threat model, as wide as a phone, and a tooltip for each mark.

    Parameters
    ----------
    audit : Audit

    Returns
    -------
    list of (Figure, dict of str to str)
        Empty without bounds.
    """
    drawn = []
    for number, (model, found) in enumerate(_by_model(audit).items()):
        with mpl.rc_context(STYLE):
            figure, tips = Figure(figsize=(4.6, 3.7)), dict[str, str]()
            _panel(figure.subplots(), f"{model[:46]}", found, number, tips)
            figure.legend(handles=list(_legend()), loc="lower left", ncols=2, frameon=False)
            figure.subplots_adjust(left=0.11, right=0.97, top=0.92, bottom=0.36)
            drawn.append((figure, tips))
    return drawn


def _by_model(audit: Audit) -> dict[str, list[tuple[Part, Finding]]]:
    panels: dict[str, list[tuple[Part, Finding]]] = {}
    for part in audit.parts:
        for each in part.findings:
            drawn = _shown(each) is not None and not each.name.startswith(LEAK)
            if _claimed(part) and drawn:
                panels.setdefault(each.threat_model, []).append((part, each))
    return panels


def evidence_figure(audit: Audit) -> Figure | None:
    """All of these panels in one figure, for a page of paper; None without bounds.

    Parameters
    ----------
    audit : Audit
    """
    panels = _by_model(audit)
    if not panels:
        return None
    rows, tips = math.ceil(len(panels) / _ACROSS), dict[str, str]()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 0.8 + 3.1 * rows))
        axes = figure.subplots(rows, _ACROSS, squeeze=False).ravel()
        for number, (model, found) in enumerate(panels.items()):
            _panel(axes[number], f"{model[:70]}", found, number, tips)
        for left in axes[len(panels) :]:
            left.set_axis_off()
        figure.legend(handles=list(_legend()), loc="lower center", ncols=5, frameon=False)
        figure.subplots_adjust(
            left=0.06,
            right=0.98,
            top=1 - 0.35 / figure.get_figheight(),
            hspace=0.5,
            wspace=0.2,
            bottom=0.9 / figure.get_figheight(),
        )
    return figure


def _panel(
    axes: Axes,
    title: str,
    found: list[tuple[Part, Finding]],
    panel: int,
    tips: dict[str, str],
) -> None:
    claims = [_claimed(part) for part, _ in found]
    low, high = min(claims) / 1.6, max(claims) * 1.6
    same = np.geomspace(low, high, 64)  # on a logarithmic axis no straight line
    axes.plot(same, same, color=INK, linestyle="--", linewidth=1.2)
    for number, (part, each) in enumerate(found):
        kind = _kind(each)
        shown, look, at = _shown(each) or 0.0, _KINDS[kind], _claimed(part)
        most = _most(each)
        if most is not None:
            axes.plot([at, at], [0, most], color=FADED, linewidth=4, alpha=0.35, zorder=1)
        gid = f"mark-{panel}-{number}"
        axes.plot([at], [shown], look.marker, color=look.colour, markerfacecolor=look.face, gid=gid)
        top = "" if most is None else f", of {most:.2f} that could have been shown"
        tips[gid] = f"{part.name}, {each.name}: {shown:.2f} of {at:.3g} claimed{top}"
    axes.set_xscale("log")
    axes.set_xticks(sorted({round(at, 3) for at in claims}), labels=_labels(claims), minor=False)
    axes.minorticks_off()
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_xlabel("claimed epsilon")
    axes.set_ylabel("shown")


def _labels(claims: list[float]) -> list[str]:
    return [f"{at:.3g}" for at in sorted({round(at, 3) for at in claims})]


def _legend() -> Iterable[Line2D]:
    yield Line2D([], [], color=INK, linestyle="--", linewidth=1.2, label="claimed")
    yield Line2D([], [], color=FADED, linewidth=4, alpha=0.35, label="could have been shown")
    for look in _KINDS.values():
        yield Line2D(
            [],
            [],
            marker=look.marker,
            color=look.colour,
            markerfacecolor=look.face,
            linestyle="",
            label=look.label,
        )


def _claimed(part: Part) -> float:
    """Of a part; 0 where nothing is claimed."""
    claimed = part.claimed.get("epsilon")
    return float(claimed) if isinstance(claimed, int | float) and claimed < math.inf else 0.0


def _shown(found: Finding) -> float | None:
    """A bound or an estimate; None of what is neither."""
    return found.figures.get("bound", found.figures.get("estimate"))


def _most(found: Finding) -> float | None:
    return found.figures.get("most provable", found.figures.get("most_provable"))


def _kind(found: Finding) -> str:
    if "estimate" in found.figures:
        return "estimate"
    return "gaussian" if "Gaussian" in found.name else "any"
