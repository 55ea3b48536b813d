"""One Chromium for all pages."""

import pytest

from tests.support.running.browser import CHROMIUM, FLAGS


@pytest.fixture(scope="session")
def chromium():
    """Its tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
