"""How figures look, and how one becomes SVG inside an HTML page.

Colours are those that colour-blind readers tell apart (Okabe and Ito), some darker, so that words
in them can be read; on a page the reader's light or dark takes their place. What a mark says is
shown by pointer, by touch and by keyboard, without a script.
"""

from __future__ import annotations

import io
import re
import textwrap
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
GRID = "#e6e6e6"

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
    "grid.color": GRID,
    "lines.linewidth": 1.8,
    "text.parse_math": False,
    "svg.fonttype": "none",
}

# Light to dark with the budget: readable in grey.
SHADES = ("#8FC7E8", "#4FA3D1", "#1F78B4", "#155A8A", "#0B3A5E")


@dataclass(frozen=True)
class ReferenceStyle:
    """Label, colour and dashes of a reference line: never told apart by colour alone."""

    label: str
    colour: str
    dashes: str | tuple[int, tuple[int, ...]]


REFERENCES = {
    "popularity": ReferenceStyle("popularity", "#B34E00", "--"),
    "zero_shot": ReferenceStyle("zero-shot", "#666666", ":"),
    "local_only": ReferenceStyle("local only", "#A6548A", "-."),
    "centralized": ReferenceStyle("centralized", "#00795C", (0, (8, 3))),
    "same_model": ReferenceStyle("same model", MODEL, (0, (4, 1, 1, 1, 1, 1))),
}


# What takes a colour's place on a page; `style.css` says what that is in light and in dark.
ON_A_PAGE = {
    **{style.colour: name.replace("_", "-") for name, style in REFERENCES.items()},
    **{shade: f"shade-{place}" for place, shade in enumerate(SHADES)},
    **{INK: "ink", "#000000": "ink", "#ffffff": "page", GRID: "grid"},
    **{MODEL: "model", FADED: "faded"},
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
        What a screen reader says of the figure as a whole.
    tips : mapping of str to str
        What each group (`gid`) in the figure says when it is pointed at, touched or reached by
        keyboard; screen readers read these in their order in place of the drawing.

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
    for child in root:
        child.set("aria-hidden", "true")
    # On top of the drawing, whose words would cover what a mark says.
    root.extend(_marks(root, tips))
    for element in root.iter():
        _localise(element, name)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "group" if tips else "img",
        "aria-label": description,
        "style": "stroke-linejoin: round; stroke-linecap: butt",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _marks(root: ElementTree.Element, tips: Mapping[str, str]) -> list[ElementTree.Element]:
    """The groups that say something, taken out of the drawing; each can be reached by itself."""
    width, found = float(root.attrib["viewBox"].split()[2]), {}
    for parent in list(root.iter()):
        for child in [c for c in parent if c.get("id") in tips]:
            parent.remove(child)
            found[child.attrib["id"]] = child
    for gid, mark in found.items():
        mark.attrib |= {"class": "tip", "tabindex": "0", "role": "img", "aria-label": tips[gid]}
        mark.append(_readout(tips[gid], width))
    return [found[gid] for gid in tips if gid in found]


def _readout(tip: str, width: float) -> ElementTree.Element:
    """What a mark says, across the top of the figure; `style.css` shows it when it is asked."""
    lines = textwrap.wrap(tip, int(width / 5.2))
    group = ElementTree.Element(f"{SVG}g", {"class": "readout"})
    size = {"width": f"{width:g}", "height": f"{12 * len(lines) + 5}"}
    ElementTree.SubElement(group, f"{SVG}rect", size)
    for place, line in enumerate(lines, start=1):
        at = {"x": "4", "y": f"{12 * place}"}
        ElementTree.SubElement(group, f"{SVG}text", at).text = line
    return group


def _localise(element: ElementTree.Element, name: str) -> None:
    """Tags without namespace, as HTML has it, ids that are this figure's own, a page's colours."""
    element.tag = element.tag.removeprefix(SVG)
    link = element.attrib.pop(LINK, None)
    if link is not None:
        element.set("href", f"#{name}-{link.removeprefix('#')}")
    if "id" in element.attrib:
        element.set("id", f"{name}-{element.attrib['id']}")
    for key, value in element.attrib.items():
        element.set(key, re.sub(r"url\(#", f"url(#{name}-", value))
    if "style" in element.attrib:
        element.set("style", _HEX.sub(_page_colour, element.attrib["style"]))


_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_NAMES = {colour.lower(): f"var(--{name})" for colour, name in ON_A_PAGE.items()}


def _page_colour(found: re.Match[str]) -> str:
    return _NAMES.get(found[0].lower(), found[0])
