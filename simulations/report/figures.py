"""How figures look, and how one becomes SVG inside an HTML page.

Colours are those that colour-blind readers tell apart (Okabe and Ito); tooltips need no script.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"

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
    "same_model": ReferenceStyle("same model", "#0072B2", (0, (4, 1, 1, 1, 1, 1))),
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


@contextmanager
def any_letters() -> Iterator[None]:
    """Of a data set's name the font may lack letters: a picture has boxes then, and no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def inline_svg(figure: Figure, name: str, description: str, tips: Mapping[str, str]) -> Markup:
    """The figure as an `<svg>` element.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Prefix of every id in the element, so that two figures can share a page.
    description : str
        What a screen reader says in place of the figure.
    tips : mapping of str to str
        Tooltip of each group id (`gid`) in the figure.

    Returns
    -------
    markupsafe.Markup
        Safe to insert: all text in it has been escaped by the XML writer.
    """
    buffer = io.BytesIO()
    # The salt makes ids, and so the page, the same for the same results.
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}), any_letters():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag == f"{SVG}style" or c.tag.endswith("}RDF")]:
            parent.remove(child)
        for child in [c for c in parent if c.tag == f"{SVG}metadata"]:
            parent.remove(child)
    for element in root.iter():
        _add_tip(element, tips)
        _localise(element, name)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": description,
        "style": "stroke-linejoin: round; stroke-linecap: butt",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _add_tip(element: ElementTree.Element, tips: Mapping[str, str]) -> None:
    tip = tips.get(element.get("id", ""))
    if tip is not None:
        title = ElementTree.Element(f"{SVG}title")
        title.text = tip
        element.insert(0, title)
        element.set("class", "tip")


def _localise(element: ElementTree.Element, name: str) -> None:
    """Tags without namespace, as HTML has it, and ids that are this figure's own."""
    element.tag = element.tag.removeprefix(SVG)
    link = element.attrib.pop(LINK, None)
    if link is not None:
        element.set("href", f"#{name}-{link.removeprefix('#')}")
    if "id" in element.attrib:
        element.set("id", f"{name}-{element.attrib['id']}")
    for key, value in element.attrib.items():
        element.set(key, re.sub(r"url\(#", f"url(#{name}-", value))
