"""The page as a person meets it: in a real Chromium, by hand, by keyboard and by axe.

`STARLING_PICTURES=docs/pictures` writes the screenshots that the docs show.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from client.store import Interaction
from tests.support.running import pages
from tests.support.running.browser import CHROMIUM, found_by_axe, width
from tests.support.running.released import person

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
axe = pytest.importorskip("axe_playwright_python.base", reason="needs the extra `browser`")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
PICTURES = os.environ.get("STARLING_PICTURES")
WIDTHS = (390, 768, 1280)


@pytest.fixture
def who(tmp_path, tiny_bert):
    """Somebody who chose a few things and said a word on two."""
    found = person(tmp_path, tiny_bert)
    kept = [Interaction(item, at) for at, item in enumerate(("orbit", "comet", "tango"))]
    found.folder.store.add(kept)
    found.feedback("bakery", True)
    found.feedback("moth", False)
    return found


class Seen:
    """A page that was opened by its address, and all that it asked for."""

    def __init__(self, browser, base, kept, **context):
        self.base = base
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.asked, self.wrong = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda line: self.wrong.append(line.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.goto(f"{base}/login?code={kept.code}")

    def close(self):
        self.context.close()


@pytest.fixture
def opened(who, chromium):
    """Opens the page, and holds it to ask for nothing elsewhere and to have no script's error."""
    seen = []
    with pages.served(who) as (base, kept):

        def one(**context):
            seen.append(Seen(chromium, base, kept, **context))
            return seen[-1].page

        yield one
        for each in seen:
            assert {urlsplit(url).netloc for url in each.asked} == {urlsplit(base).netloc}
            assert each.wrong == []
            each.close()


def titles(page):
    return page.locator(".card h3").all_inner_texts()


def test_a_word_and_its_undoing(opened, who):
    page = opened()
    before = titles(page)
    assert len(before) == 8
    page.evaluate("window.same = true")  # until the page is loaded anew
    page.locator(".card").first.get_by_role("button", name="Not for me").click()
    banner = page.locator("#banner")
    playwright.expect(banner).to_contain_text(f"{before[0]} is not shown again")
    playwright.expect(banner).to_be_focused()
    assert before[0] not in titles(page)
    banner.get_by_role("button", name="Undo").click()
    playwright.expect(banner).to_contain_text("Taken back")
    assert titles(page) == before
    page.locator(".card").first.get_by_role("button", name="Like").click()
    playwright.expect(banner).to_contain_text(f"You like {before[0]}")
    assert who.knows() == 5
    assert page.evaluate("window.same")


def test_without_a_script_it_does_the_same(opened, who):
    page = opened(java_script_enabled=False)
    before = titles(page)
    page.locator(".card").first.get_by_role("button", name="Like").click()
    assert f"You like {before[0]}" in page.locator("#banner").inner_text()
    page.locator("#banner").get_by_role("button", name="Undo").click()
    assert titles(page) == before
    page.get_by_label("Title or words").fill("glass harbour")
    page.get_by_role("button", name="Search").click()
    page.locator("section:has(#find) li").get_by_role("button", name="Like").click()
    assert who.folder.store.opinions()["glass"] is True
    page.get_by_role("button", name="Pause").click()
    assert who.budget().caps.pause
    page.get_by_role("button", name="Take part again").click()
    assert not who.budget().caps.pause


def test_pausing_exporting_and_forgetting(opened, who):
    page = opened()
    page.get_by_role("button", name="Pause").click()
    again = page.get_by_role("button", name="Take part again")
    playwright.expect(again).to_be_focused()
    assert who.budget().caps.pause
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    assert download.value.suggested_filename == "starling-export.json"
    assert "bakery" in Path(download.value.path()).read_text()
    page.locator(".forget summary").click()
    page.get_by_role("button", name="Forget me").click()  # without a word that one is sure
    assert who.knows() == 4
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Forget me").click()
    playwright.expect(page.get_by_role("status")).to_contain_text("deleted from this device")
    assert who.forgotten
    assert b"orbit" not in b"".join(
        file.read_bytes() for file in who.folder.path.glob("*") if file.is_file()
    ).replace((who.folder.path / "catalogue.json").read_bytes(), b"")


def test_by_keyboard_alone(opened, who):
    page = opened()

    def focused():
        return page.evaluate(
            "(e => (e.ariaLabel || e.labels?.[0]?.innerText || e.innerText || e.id).trim())"
            "(document.activeElement)"
        )

    page.keyboard.press("Tab")
    assert focused() == "Skip to what is recommended"
    page.keyboard.press("Enter")
    first = titles(page)[0]
    page.keyboard.press("Tab")
    assert focused().endswith(f": {first}")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#banner")).to_contain_text(f"You like {first}")
    page.keyboard.press("Tab")
    assert focused().endswith(f": {first}")
    page.keyboard.press("Space")
    playwright.expect(page.locator("#banner")).to_contain_text("Taken back")
    reached = set()
    for _ in range(80):  # to the end, and nothing holds the focus
        page.keyboard.press("Tab")
        reached.add(focused())
    for name in ("Title or words", "Search", "Pause", "Export", "Forget me"):
        assert name in reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(scheme, opened):
    page = opened(color_scheme=scheme)
    for wide in WIDTHS:
        page.set_viewport_size({"width": wide, "height": 900})
        page.goto(page.url.split("?")[0] + "?find=the&about=bakery")
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        assert found_by_axe(page, axe) == []
        assert width(page) <= wide


@pytest.mark.skipif(not PICTURES, reason="writes docs: STARLING_PICTURES=docs/pictures")
@pytest.mark.parametrize(
    ("name", "scheme", "width", "height"),
    [("light", "light", 1280, 960), ("dark", "dark", 1280, 960), ("phone", "light", 390, 844)],
)
def test_pictures_for_the_docs(name, scheme, width, height, opened):
    page = opened(color_scheme=scheme, viewport={"width": width, "height": height})
    page.screenshot(path=Path(PICTURES) / f"page-{name}.png")
