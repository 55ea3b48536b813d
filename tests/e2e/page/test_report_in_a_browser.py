"""A run's page and an audit's as they are read: in a real Chromium, by eye, by keyboard, by axe.

Screenshots lie in pytest's folder; `STARLING_PICTURES=docs/pictures` writes those that the docs
show, of the run's folder in `STARLING_RUN`.
"""

import copy
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from shared.config import from_dict, load_toml, to_dict
from shared.config.presets import preset_file
from shared.privacy.guarantee import (
    EXAMPLE_CENTRAL,
    EXAMPLE_LOCAL,
    USER_CENTRAL,
    USER_DISTRIBUTED,
    USER_SCHEDULED,
    in_sums,
)
from shared.privacy.ledger.promise import SEEDED
from simulations.audit.report.page import render as audit_page
from simulations.report import Standing
from simulations.report.page import render
from simulations.results import Results
from simulations.verify.stated import MACHINE
from tests.support.running.browser import CHROMIUM, found_by_axe, sheets, width
from tests.unit.simulations.audit.test_figure import audit
from tests.unit.simulations.report.conftest import RESULTS, with_same_model

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
axe = pytest.importorskip("axe_playwright_python.base", reason="needs the extra `browser`")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
PICTURES, RUN = os.environ.get("STARLING_PICTURES"), os.environ.get("STARLING_RUN")
WIDTHS = {390: 844, 768: 1024, 1280: 900}
CHECKED = {"when": datetime(2026, 11, 28, 9, 30, tzinfo=UTC), "key": "ab" * 32}
HONEST = "900 of the 943 or more devices in every sum"
HASH = "0f2d68cc49f05855d34006a5c91b31efc45c9bc3732680475f06df1ad8a4b086"


AGAINST = {
    "verified": ("user", "central", in_sums(USER_CENTRAL, 566, 0.1)),
    "scheduled": ("user", "central", USER_SCHEDULED),
    "distributed": ("user", "distributed", USER_DISTRIBUTED.format(HONEST)),
    "windows": ("example", "local", EXAMPLE_LOCAL),
    "trusted": ("example", "central", EXAMPLE_CENTRAL),
}


def results(unit="user", trust="central", adversary=USER_CENTRAL):
    """Of five budgets and three seeds, with all settings and everything of the machine."""
    found = with_same_model(copy.deepcopy(RESULTS))
    config = to_dict(from_dict(load_toml(preset_file("demo")), "demo"))
    config["sweep"] = {**config["sweep"], **found["config"]["sweep"]}
    for point in found["points"]:
        point |= {"unit": unit, "trust": trust, "adversary": adversary, "noise": SEEDED}
    return Results.of(found | {"config": config, "environment": dict.fromkeys(MACHINE, HASH)})


def small():
    """The same of a budget, infinity and one seed: all kinds of rows, fewer for axe to go through.

    It is incomplete, so the page has a warning.
    """
    found = dict(results().stated)
    kept = [p for p in found["points"] if p["epsilon_target"] in (8.0, "inf") and p["seed"] == 0]
    return Results.of(found | {"points": kept, "complete": False})


def audited():
    """As little as an audit says of itself."""
    found = audit()
    found.subject.update(name="run", kind="simulation", file="results.json", sha256=HASH)
    found.settings.update(created="2026-11-28", starling="0.1.0", auditor=HASH)
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Each page as a file: no server, and nothing beside it."""
    folder = tmp_path_factory.mktemp("pages")
    whose = f"sealed by {CHECKED['key']}, the key that was named"
    verified = Standing("verified", **CHECKED, whose=whose, by="Starling")
    pages = {
        "report": render(results(), Standing(**CHECKED)),
        **{name: render(results(*words), verified) for name, words in AGAINST.items()},
        "small": render(small(), verified),
        "audit": audit_page(audited()),
    }
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return folder


@pytest.fixture
def opened(files, chromium):
    """Opens a page, and holds it to ask for nothing and to have nothing to complain of."""
    seen, wrong = [], []

    def one(name, **context):
        seen.append(chromium.new_context(**context))
        page = seen[-1].new_page()
        page.on("console", lambda line: wrong.append(line.text))
        page.on("request", lambda asked: asked.url.endswith(".html") or wrong.append(asked.url))
        page.goto((files / f"{name}.html").as_uri())
        return page

    yield one
    assert wrong == []
    for context in seen:
        context.close()


@pytest.mark.parametrize("name", ["small", "audit"])
def test_axe_finds_nothing(name, opened):
    page = opened(name)
    for wide, high in WIDTHS.items():
        page.set_viewport_size({"width": wide, "height": high})
        assert found_by_axe(page, axe) == []
    # In the dark, and on paper, the same page has other colours and nothing else is another.
    page.emulate_media(color_scheme="dark")
    assert found_by_axe(page, axe, "color-contrast") == []
    page.emulate_media(media="print")
    assert found_by_axe(page, axe, "color-contrast") == []


def scrolled(page):
    """Pictures that are wider than what they stand in, or whose letters are too small to read."""
    return page.evaluate(
        "[...document.querySelectorAll('svg')].filter(svg => svg.getBoundingClientRect().width > "
        "svg.parentElement.clientWidth + 1 || Math.min(...[...svg.querySelectorAll(':scope > g "
        "text')].map(text => text.getBoundingClientRect().height).filter(h => h)) < 9)"
        ".map(svg => svg.getAttribute('aria-label'))"
    )


@pytest.mark.parametrize("name", ["report", "audit"])
def test_nothing_is_wider_than_the_window(name, opened, tmp_path):
    page = opened(name)
    for wide, high in WIDTHS.items():
        page.set_viewport_size({"width": wide, "height": high})
        assert width(page) <= wide
        assert scrolled(page) == []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=tmp_path / f"{name}-{scheme}-{wide}.png")


@pytest.mark.parametrize("name", ["report", *AGAINST])
@pytest.mark.parametrize("wide", WIDTHS)
def test_what_is_promised_and_the_figure_are_on_the_first_screen(name, wide, opened):
    page = opened(name, viewport={"width": wide, "height": WIDTHS[wide]})
    facts = page.locator(".facts div")
    first = [page.locator(".verdict"), page.locator(".first svg"), *facts.all()]
    for part in first:
        box = part.bounding_box()
        assert box["y"] + box["height"] <= WIDTHS[wide], part.inner_text()
        assert box["width"] >= 300 or wide < 768
    told = " ".join(facts.all_inner_texts())
    against = AGAINST.get(name, ("", "", USER_CENTRAL))[2].partition("; ")[0]
    for words in ("ε", "δ", f"Against {against}", "the server", SEEDED):
        assert words in " ".join(told.split())
    # No panel is a smaller picture of a larger one: its letters are as large as they can be read.
    sizes = page.evaluate(
        "[...document.querySelectorAll('svg')].map(svg => Math.min(...[...svg.querySelectorAll("
        "':scope > g text')].map(text => text.getBoundingClientRect().height).filter(h => h)))"
    )
    assert min(sizes) >= 10, sizes


def test_by_keyboard_and_by_touch_each_mark_says_its_numbers(opened):
    page = opened("report", viewport={"width": 390, "height": 844}, has_touch=True)
    said = page.locator(".first .readout")
    assert [said.nth(at).is_visible() for at in range(5)] == [False] * 5
    heard = ""
    for _ in range(20):
        page.keyboard.press("Tab")
        heard = page.evaluate("document.activeElement.getAttribute('aria-label') || ''")
        if heard.startswith("ε "):
            break
    assert heard.startswith("ε 1 (spent 0.998): hr@10 0.4")
    assert said.nth(0).is_visible()
    box, figure = said.nth(0).bounding_box(), page.locator(".first svg").bounding_box()
    assert box["x"] >= figure["x"] - 1
    assert box["x"] + box["width"] <= figure["x"] + figure["width"] + 1
    page.keyboard.press("Tab")
    assert [said.nth(at).is_visible() for at in range(3)] == [False, True, False]
    page.locator(".first .tip use").nth(3).tap()
    assert said.nth(3).is_visible()
    page.locator(".first .tip use").nth(4).hover()
    assert said.nth(4).is_visible()


@pytest.mark.parametrize("name", ["report", "verified"])
def test_on_paper_it_is_light_and_six_pages_at_most(name, opened, tmp_path):
    page = opened(name, color_scheme="dark")
    assert sheets(page) <= 6
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 703, "height": 1032})  # A4 within its margins
    assert width(page) <= 703
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.screenshot(path=tmp_path / "paper.png")


@pytest.mark.skipif(not (PICTURES and RUN), reason="writes docs: STARLING_PICTURES, STARLING_RUN")
@pytest.mark.parametrize(
    ("name", "scheme", "wide"),
    [("light", "light", 1280), ("dark", "dark", 1280), ("phone", "light", 390)],
)
def test_pictures_for_the_docs(name, scheme, wide, chromium, tmp_path):
    run = Results.read(Path(RUN) / "results.json")
    (tmp_path / "page.html").write_text(render(run, Standing.of_a_run(None)), encoding="utf-8")
    page = chromium.new_page(color_scheme=scheme, viewport={"width": wide, "height": WIDTHS[wide]})
    page.goto((tmp_path / "page.html").as_uri())
    page.screenshot(path=tmp_path / "page.png")
    small = (
        Image.open(tmp_path / "page.png").convert("RGB").quantize(64)
    )  # colours, of a few flat ones
    small.save(Path(PICTURES) / f"report-{name}.png", optimize=True)
    page.close()
