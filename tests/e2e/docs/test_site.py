"""The site builds without a warning, shows what GitHub shows, and loads nothing from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

LOADS = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\ssrc=\"?([^\" >]+)"
    r"|<link\b[^>]*\bhref=\"?([^\" >]+)[^>]*>"
    r"|url\(['\"]?([^'\")]+)"
)


def build(out, config=ROOT / "mkdocs.yml"):
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    done = build(out)
    assert done.returncode == 0, done.stderr
    return out


def loaded(text):
    """What a browser fetches to show a page or a style; links that people follow are none."""
    found = (next(filter(None, match), "") for match in LOADS.findall(text))
    return {each for each in found if each and not each.startswith("data:")}


def test_nothing_is_loaded_from_elsewhere(site):
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(files) > 60
    fetched = {
        (str(file.relative_to(site)), each)
        for file in files
        for each in loaded(file.read_text(encoding="utf-8"))
    }
    assert any(each.endswith(".css") for _, each in fetched)
    assert [pair for pair in fetched if re.match(r"(https?:)?//", pair[1])] == []
    # Its scripts ask elsewhere for diagrams, and for the counters of a named repository.
    pages = " ".join(file.read_text(encoding="utf-8") for file in site.rglob("*.html"))
    assert 'class="mermaid"' not in pages
    assert 'data-md-component="source"' not in pages


def test_the_check_sees_what_would_be_loaded():
    page = '<link rel="stylesheet" href="https://fonts.x/a.css"><script src=//x/y.js></script>'
    page += '<a href="https://x/">a</a><style>@font-face {src: url("http://x/f.woff")}</style>'
    assert loaded(page) == {"https://fonts.x/a.css", "//x/y.js", "http://x/f.woff"}


def test_every_page_and_every_command_is_there(site):
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        file = site / (name.with_name("index.html") if name.stem == "README" else name)
        assert file.is_file(), page
    shown = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for words in ("simulate", "client serve", "server init", "policy check", "data inspect"):
        assert f"starling {words}<" in shown
    assert "--epsilon" in shown
    # What a page links to beside docs/ is shown there.
    assert "def run_round" in re.sub(
        "<[^>]+>", "", (site / "source/server/round.py.html").read_text()
    )


def test_a_link_that_leads_nowhere_ends_it(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_text("# A\n\n[b](b.md) [c](#nothing)\n")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    kept = [part for part in settings.split("\n\n") if not part.startswith(("nav:", "# The pages"))]
    config = tmp_path / "mkdocs.yml"
    config.write_text("site_name: x\n\n" + "\n\n".join(kept))
    done = build(tmp_path / "out", config)
    assert done.returncode
    assert "b.md" in done.stderr
    assert "#nothing" in done.stderr


def test_a_browser_asks_for_nothing_elsewhere_and_axe_finds_nothing_serious(site):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    axe = pytest.importorskip("axe_playwright_python.base", reason="needs the extra `browser`")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium")
    script = Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    asked, told = [], []
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme, width, inner in (("light", 1280, "concepts"), ("dark", 390, "howto/own-rule")):
            shown = browser.new_page(
                viewport={"width": width, "height": 900},
                color_scheme=scheme,
                reduced_motion="reduce",
            )
            shown.on("request", lambda request: asked.append(request.url))
            for name in ("index", inner):
                shown.goto(f"{(site / name).as_uri()}.html")
                shown.evaluate(f"(() => {{ {script} }})()")
                found = shown.evaluate("axe.run(document)")
                assert len(found["passes"]) > 10
                told += [
                    (name, scheme, one["id"], one["nodes"][0]["html"])
                    for one in found["violations"]
                    if one["impact"] in ("serious", "critical")
                ]
                assert shown.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert told == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
