"""What the pages about Python show is what happens: every example is run."""

import doctest
import re

from simulations.table import COLUMNS
from tests.support import ROOT

PAGE = ROOT / "docs" / "python.md"


def test_the_page_says_what_happens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    # Errors are shown by their full name, as a notebook does.
    text = PAGE.read_text(encoding="utf-8").replace("```", "")
    found = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    assert len(found.examples) > 20
    told = []
    runner = doctest.DocTestRunner(optionflags=flags)
    runner.run(found, out=told.append)
    assert runner.failures == 0, "".join(told)


def test_the_page_has_every_column_and_its_unit():
    rows = re.findall(r"^\| `(.+?)` \| (\w+) \| (.+?) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    own = [(at.name, at.kind, at.unit or "-", at.means) for at in COLUMNS]
    assert rows == own
