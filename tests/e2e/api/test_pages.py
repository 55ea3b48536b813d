"""What the pages about Python show is what happens: every example is run."""

import doctest
import re

import pytest

from simulations.table import COLUMNS
from tests.support import ROOT

PAGE, NOTEBOOK = ROOT / "docs" / "python.md", ROOT / "docs" / "first-run.ipynb"


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


def test_the_notebook_runs_and_shows_what_it_says(tmp_path):
    """In a kernel of its own: progress is one display, nothing goes to a standard output."""
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient")
    client = pytest.importorskip("nbclient", reason="needs nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    at = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=None, kernel_name="python3", resources=at).execute()
    shown = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type in ("execute_result", "display_data"), output
            shown.setdefault(cell.source.splitlines()[-1], []).append(output.data)
    progress, run = shown["run"]
    assert re.fullmatch(r"finished after 528/528 updates, .*", progress["text/plain"])
    assert "<progress" in progress["text/html"]
    assert "complete" in run["text/plain"]
    assert "<table" in run["text/html"]
    (curve,) = shown["run.curve()"]
    assert len(curve["image/png"]) > 10_000
    assert "agree" in shown["report.verdict"][0]["text/plain"]
    assert shown["altered.exit_code, altered.problems"][0]["text/plain"].startswith("(3, ")
    assert "hr@10_low" in shown["points[shown].round(3)"][0]["text/plain"]
