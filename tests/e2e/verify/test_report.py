"""`starling verify --report`: a page that says what was found, and no more than that."""

import re
import shutil

import pytest

from tests.support.command import command, results
from tests.support.privacy.forging import load
from tests.unit.simulations.report.test_page import check


def words(page):
    return check(page.read_text(encoding="utf-8"))


def key_of(run):
    return load(run)["seal"]["public_key"]


def test_the_page_that_a_run_writes_says_when_and_by_whose_key_and_claims_no_check(run):
    text = words(run / "report.html")
    assert "Not verified. The run wrote this page itself" in text
    assert re.search(r"Starling 0\.1\.0, \d{4}-\d\d-\d\d \d\d:\d\d UTC", text)
    assert f"would be sealed by the key {key_of(run)}" in text
    assert "Verified." not in text


def test_what_was_verified_is_said_so_outside_the_run(run, tmp_path):
    page, before = tmp_path / "filed.html", sorted(run.rglob("*"))
    done = command("verify", run, "--key", key_of(run), "--report", page)
    assert done.code == 0
    assert sorted(run.rglob("*")) == before
    text = words(page)
    assert "Verified. Every ε was recomputed from the ledgers, and every sealed file" in text
    assert f"it is sealed by {key_of(run)}, the key that was named" in text
    again = command("verify", run, "--report", page)
    assert (again.code, again.error) == (
        2,
        f"error: --report {page}: is there already; give a new file",
    )


def test_a_run_of_a_key_that_nobody_named_is_not_shown(run, tmp_path, monkeypatch):
    monkeypatch.setenv("STARLING_HOME", str(tmp_path / "home"))
    done = command("verify", run, "--report", tmp_path / "page.html")
    assert done.code == 4
    text = words(tmp_path / "page.html")
    assert "Not shown. Nothing disagrees, and not everything is shown: nobody vouches" in text
    assert "whom nobody vouches for: whoever can write to the folder" in text
    assert "Verified." not in text


@pytest.mark.parametrize("file", ["report.html", "results.json"])
def test_a_run_that_was_altered_is_refuted_and_all_that_disagrees_is_listed(run, tmp_path, file):
    copy = shutil.copytree(run, tmp_path / "copy")
    text = (copy / file).read_text(encoding="utf-8")
    (copy / file).write_text(text.replace("central", "distributed"), encoding="utf-8")
    done = command("verify", copy, "--report", tmp_path / "page.html")
    assert done.code == 3
    told = words(tmp_path / "page.html")
    assert "Refuted. Claims, ledgers and files disagree" in told
    assert "Verified." not in told
    problem = {
        "report.html": "report.html: not the file that was sealed: replaced or edited",
        "results.json": "results.json: edited after it was sealed",
    }[file]
    assert problem in done.out
    assert problem in told


def test_of_claims_that_no_page_can_show_there_is_the_verdict_alone(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    text = (copy / "results.json").read_text(encoding="utf-8")
    assert '"meaning": {' in text
    (copy / "results.json").write_text(text.replace('"groups": {', '"grupos": {'), "utf-8")
    done = command("verify", copy, "--report", tmp_path / "page.html")
    assert done.code == 3
    assert "DISAGREE" in done.out
    assert not (tmp_path / "page.html").exists()


def test_a_real_run_has_a_page_of_its_promise(deployed, tmp_path):
    done = command("verify", deployed, "--report", tmp_path / "page.html")
    assert done.code == 0
    text = words(tmp_path / "page.html")
    assert f"What was promised: {results(deployed)['name']}" in text
    assert "Verified. Every ε was recomputed" in text
    assert "To each of 6 people" in text
    assert "This is a simulation" not in text
    assert "HR@10" not in text


def test_an_audit_has_a_page_of_its_own(tmp_path):
    (tmp_path / "audit.json").write_text("{}")
    done = command("verify", tmp_path, "--report", tmp_path.parent / "new.html")
    assert done.code == 2
    assert done.error == "error: --report: an audit has a page of its own; give the run's folder"
