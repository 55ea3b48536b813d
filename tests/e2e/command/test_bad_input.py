"""What a person or a machine gets wrong ends in the one line that docs/bad-input.md shows."""

import pytest

from tests.support import ROOT
from tests.support.bad.lab import Case, Lab, answer
from tests.support.bad.page import CASES, KINDS, render, row
from tests.support.command import command

PAGE = ROOT / "docs" / "bad-input.md"
REWRITE = "if that is meant: python -m tests.support.bad.page docs/bad-input.md"


@pytest.fixture
def lab(settings, tiny_bert, run, tmp_path, monkeypatch):
    monkeypatch.delenv("STARLING_DATA", raising=False)
    return Lab(tmp_path, settings, tiny_bert, run, monkeypatch)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.tried}")
def test_the_answer_is_the_one_on_the_page(case, lab):
    found = row(case, answer(case, lab))
    assert found in PAGE.read_text(encoding="utf-8").splitlines(), f"{found}\n{REWRITE}"


def test_the_page_holds_every_case_and_nothing_else():
    """Cells are compared case by case above; here titles, their order and the words around."""
    page = PAGE.read_text(encoding="utf-8")
    empty = render(dict.fromkeys(CASES, ("", "(works)")))
    assert without_answers(page) == without_answers(empty), REWRITE
    assert len(CASES) == len({(case.kind, case.tried) for case in CASES})
    assert {case.kind for case in CASES} == set(KINDS)


def without_answers(page):
    return [ln.rsplit(" | ", 2)[0] if ln.startswith("| `") else ln for ln in page.splitlines()]


def broken(action):
    return Case("state", "planted", action)


def test_the_laboratory_sees_what_is_left_behind(lab):
    def leave(lab):
        lab.file("a", "before")
        done = lab.simulate("--preset", "nope")
        lab.after[lab.folder / "b"] = b"left"
        return done

    with pytest.raises(AssertionError):
        answer(broken(leave), lab)
    assert lab.changes() == ["b"]


def test_the_laboratory_sees_a_traceback_and_a_second_line(lab):
    with pytest.raises(AssertionError, match="Traceback"):
        answer(broken(lambda lab: lab.run("--debug", "simulate", "--preset", "nope")), lab)
    with pytest.raises(AssertionError, match="client updates to go"):  # two lines: not quiet
        answer(
            Case("state", "loud", lambda lab: lab.run("simulate", "--resume", lab.unfinished()), 0),
            lab,
        )


def test_debug_shows_where():
    done = command("--debug", "simulate", "--preset", "nope")
    assert done.code == 2
    assert "Traceback" in done.err
