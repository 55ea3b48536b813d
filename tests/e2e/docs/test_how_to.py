"""What the how-tos say runs: their scripts, their changes to the checkout, their commands."""

import re
import shlex
import subprocess
import sys

import pytest

from tests.support import ROOT
from tests.support.command import command
from tests.support.deploy.installed import copied

PAGES = ROOT / "docs" / "howto"
BLOCK = re.compile(r'^```(\w*)(?: title="([\w.-]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)
# Every line of a page, typed one after the other; the first that fails ends it with its code.
TYPE = """
import sys, starling
for line in {lines!r}:
    try:
        starling.main(line)
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"{{line}}: {{ended.code}}")
"""


def blocks(name, kind):
    """(file, text) of a page's blocks of one kind."""
    page = (PAGES / name).read_text(encoding="utf-8")
    return [(file, text) for found, file, text in BLOCK.findall(page) if found == kind]


def typed(name):
    """What is given to `starling` on a page, line by line."""
    told = "".join(text for _, text in blocks(name, "")).replace("\\\n", " ")
    lines = told.splitlines()
    found = [shlex.split(line.removeprefix("python -m ")) for line in lines]
    assert found
    assert all(words[0] == "starling" for words in found)
    return [words[1:] for words in found]


@pytest.mark.parametrize("page", ["own-data.md", "own-backbone.md"])
def test_a_script_makes_what_the_commands_take(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ((file, text),) = blocks(page, "python")
    exec(compile(text, file, "exec"), {"__name__": "__main__"})
    for words in typed(page):
        done = command(*words)
        assert done.code == 0, (words, done.err)


def test_changes_to_the_checkout_apply_and_run(tmp_path):
    """Both pages' in one copy and one process: the second rule's run has the first one's noise."""
    copy = copied(tmp_path / "checkout")
    lines = []
    for page in ("own-rule.md", "own-mechanism.md"):
        for file, text in blocks(page, "diff"):
            (copy / file).write_text(text)
            subprocess.run(["git", "apply", "--verbose", file], cwd=copy, check=True)
        lines += typed(page)
    scripts = [text for _, text in blocks("own-mechanism.md", "python")]
    assert len(scripts) == 1
    code = "\n".join([*scripts, TYPE.format(lines=lines)])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 of 100 draws" in done.stdout
    assert done.stdout.count("Claims, ledgers and files agree.") == 2
    assert "shrunkgaussian" in done.stdout
