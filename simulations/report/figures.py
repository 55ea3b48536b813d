"""How figures look: colours that colour-blind readers tell apart (Okabe and Ito), and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

INK = "#333333"
MODEL = "#0072B2"
FADED = "#56B4E9"

# Any: matplotlib's stubs list every key as a literal type.
# parse_math: a data set's name may hold a dollar sign, and must not be read as a formula.
STYLE: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "lines.linewidth": 1.8,
    "text.parse_math": False,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class ReferenceStyle:
    """Label, colour and dashes of a reference line: never told apart by colour alone."""

    label: str
    colour: str
    dashes: str | tuple[int, tuple[int, ...]]


REFERENCES = {
    "popularity": ReferenceStyle("popularity", "#D55E00", "--"),
    "zero_shot": ReferenceStyle("zero-shot", "#666666", ":"),
    "local_only": ReferenceStyle("local only", "#A6548A", "-."),
    "centralized": ReferenceStyle("centralized", "#00795C", (0, (8, 3))),
}


def reference_style(name: str) -> ReferenceStyle:
    """The style of a reference; one that is not known here keeps its own name."""
    return REFERENCES.get(name, ReferenceStyle(name.replace("_", " "), INK, (0, (1, 1))))


def spread(heights: Sequence[float], least: float) -> list[float]:
    """Ascending label heights moved apart to at least `least`, staying around where they were.

    Labels that would overlap form a block that is centred on the mean of its members.
    """
    blocks: list[list[float]] = []  # [sum of wanted heights, members]
    for height in heights:
        blocks.append([height, 1.0])
        while len(blocks) > 1 and _start(blocks[-1], least) < _end(blocks[-2], least) + least:
            total, members = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += members
    return [
        _start(block, least) + least * member for block in blocks for member in range(int(block[1]))
    ]


def _start(block: Sequence[float], least: float) -> float:
    return block[0] / block[1] - least * (block[1] - 1) / 2


def _end(block: Sequence[float], least: float) -> float:
    return block[0] / block[1] + least * (block[1] - 1) / 2
