"""A real Chromium, what it finds against a page, and how many sheets that takes on paper."""

import re
import shutil
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


_RUN = """options => axe.run(document, options).then(found => [
  found.passes.length,
  found.violations.map(one => [one.id, one.impact, one.nodes[0].html]),
])"""


def found_by_axe(page, axe, only=None):
    """Violations: rule, impact and the first element of each.

    `axe` is the module of its package; `only` the one rule that is asked, instead of all.
    """
    script = Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    page.evaluate(f"window.axe || (() => {{ {script} }})()")
    options = {"resultTypes": ["violations"], **({"runOnly": [only]} if only else {})}
    passed, found = page.evaluate(_RUN, options)
    assert passed > (0 if only else 20)
    return found


def width(page):
    """How wide the page is, in pixels, whatever its window."""
    return page.evaluate("document.documentElement.scrollWidth")


def sheets(page):
    """How many it is printed on, as its style has paper."""
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    return len(re.findall(rb"/Type\s*/Page\b", printed))
