"""A matplotlib figure as SVG inside an HTML page, with tooltips that need no script."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from simulations.report.figures import STYLE

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"


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
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}):
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
