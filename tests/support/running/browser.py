"""A real Chromium, what it finds against a page, and how many sheets that takes on paper."""

import re
import shutil
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


def found_by_axe(page, axe):
    """Violations: rule, impact and the first element of each. `axe`: the module of its package."""
    script = Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    page.evaluate(f"(() => {{ {script} }})()")
    found = page.evaluate("axe.run(document)")
    assert len(found["passes"]) > 20
    return [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found["violations"]]


def width(page):
    """How wide the page is, in pixels, whatever its window."""
    return page.evaluate("document.documentElement.scrollWidth")


def sheets(page):
    """How many it is printed on, as its style has paper."""
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    return len(re.findall(rb"/Type\s*/Page\b", printed))
