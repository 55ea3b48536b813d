"""`starling audit` as a privacy officer runs it: a folder, a verdict, a file nobody can edit."""

import json
import shutil

import pytest

from tests.support.auditing import planted
from tests.support.command import command


@pytest.fixture(scope="module")
def quick(finished, tmp_path_factory):
    """The run of the other tests and its quick audit, side by side; and how the command ended."""
    place = tmp_path_factory.mktemp("audited")
    shutil.copytree(finished[0], place / "tiny")
    return place, command("audit", place / "tiny", "--quick")


@pytest.fixture
def copy(quick, tmp_path):
    return shutil.copytree(quick[0], tmp_path / "copy")


def told(folder):
    return json.loads((folder / "audit.json").read_text())


def findings(folder, part):
    parts = {each["name"]: each for each in told(folder)["parts"]}
    return {each["name"]: each["verdict"] for each in parts[part]["findings"]}


def test_a_run_is_audited_beside_itself(quick):
    place, done = quick
    assert done.code == 0, (done.out, done.err)
    assert "No violation was found" in done.out
    assert "eps-2-seed-0: replaying" in done.err
    assert findings(place / "tiny-audit", "eps-2-seed-0")["noise scale"] == "holds"
    assert findings(place / "tiny-audit", "files")["claims, ledgers and files"] == "holds"
    page = (place / "tiny-audit" / "audit.html").read_text()
    assert page.index("HOLDS") < page.index("What was checked") < page.index("Theory against")
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_it_is_verified_offline(quick):
    place, _ = quick
    done = command("verify", place / "tiny-audit")
    assert done.code == 0, done.out
    assert "this machine's own key" in done.out
    assert "No violation was found" in done.out
    as_json = json.loads(command("verify", place / "tiny-audit", "--json").out)
    assert (as_json["exit_code"], as_json["beside"]) == (0, True)


def edited(folder):
    file = folder / "tiny-audit" / "audit.json"
    file.write_text(file.read_text().replace('"holds"', '"violated"', 1))


def page_edited(folder):
    page = folder / "tiny-audit" / "audit.html"
    page.write_text(page.read_text().replace("HOLDS", "holds"))


def another_run(folder):
    file = folder / "tiny" / "results.json"
    file.write_text(file.read_text() + " ")


def another_adapter(folder):
    file = folder / "tiny" / "adapters" / "eps-2-seed-0.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")


def shorter_ledger(folder):
    file = folder / "tiny" / "ledger-eps-2-seed-0.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def taken_away(folder):
    shutil.rmtree(folder / "tiny")


@pytest.mark.parametrize(
    ("how", "code", "word"),
    [
        (edited, 3, "edited after it was sealed"),
        (page_edited, 3, "not the file that was sealed"),
        (another_run, 3, "not what was audited"),
        (another_adapter, 3, "not what was audited"),
        (shorter_ledger, 3, "not what was audited"),
        (taken_away, 4, "is not beside it"),
    ],
)
def test_what_was_altered_since_is_noticed(copy, how, code, word):
    how(copy)
    done = command("verify", copy / "tiny-audit")
    assert done.code == code
    assert word in done.out


def test_another_auditors_key_is_noticed(copy):
    done = command("verify", copy / "tiny-audit", "--key", "ab" * 32)
    assert done.code == 3
    assert "not by the key that was named" in done.out
    assert "NOT sealed by the key" in done.out


def test_code_with_half_the_noise_is_named(copy, monkeypatch):
    planted.half_the_noise(monkeypatch, None)
    done = command("audit", copy / "tiny", "--quick", "--out", copy / "half", "--json")
    assert done.code == 3
    document = json.loads(done.out)
    assert document["verdict"] == "violated"
    assert "noise scale" in document["words"]
    assert document["parts"] == told(copy / "half")["parts"]


def test_a_run_that_was_edited_is_named(copy):
    ledger = next((copy / "tiny").glob("ledger-*.jsonl"))
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(lines[:-1]))
    done = command("audit", copy / "tiny", "--quick", "--out", copy / "edited")
    assert done.code == 3
    assert "VIOLATED: files" in done.out


def test_all_of_a_run(run, tmp_path):
    """Every point, attacks, and that the run's own adapter comes of its settings."""
    done = command("audit", shutil.copytree(run, tmp_path / "tiny"), "--out", tmp_path / "full")
    assert done.code == 0, done.out
    assert command("verify", tmp_path / "full").code == 0
    found = findings(tmp_path / "full", "eps-2-seed-0")
    assert found["reproduced"] == found["public fields"] == found["place in the log"] == "holds"
    names = [each["name"] for each in told(tmp_path / "full")["parts"]]
    assert names == ["files", "eps-2-seed-0", "attacks at epsilon 2", "attacks at epsilon inf"]
    assert told(tmp_path / "full")["parts"][2]["worst"]


def test_a_deployments_operator_has_the_code_run_on_made_up_people(deployed, tmp_path):
    done = command("audit", deployed, "--quick", "--out", tmp_path / "audit")
    assert "made-up people" in done.out
    part = told(tmp_path / "audit")["parts"][1]
    assert {each["name"]: each["verdict"] for each in part["findings"]}["noise scale"] == "holds"
    assert "secure aggregation keeps it from the operator too" in done.out


def test_a_reader_of_an_adapter_is_told_what_it_says_of_itself(run, tmp_path):
    file = run / "adapters" / "eps-2-seed-0.safetensors"
    done = command("audit", file, "--out", tmp_path / "audit")
    assert done.code == 4
    assert "whoever knows settings and seed can take it off" in done.out
    assert "promise: user-level epsilon" in done.out


def test_a_run_that_was_trained_with_half_its_noise_does_not_hold(
    settings, tiny_bert, tmp_path, monkeypatch
):
    """The code here is right, and the files agree: but this run did not come of that code."""
    with monkeypatch.context() as patch:
        planted.half_the_noise(patch, None)
        words = ("--config", settings, "--backbone", tiny_bert, "--epsilon", "2")
        assert command("simulate", *words, "--out", tmp_path / "run").code == 0
    done = command("audit", tmp_path / "run", "--quick")
    assert done.code == 4
    assert "NOT SHOWN: eps-2-seed-0: reproduced: Run again here" in done.out


def test_a_run_that_promises_nothing_does_not_hold(settings, tiny_bert, tmp_path):
    words = ("--config", settings, "--backbone", tiny_bert, "--epsilon", "inf")
    assert command("simulate", *words, "--out", tmp_path / "run").code == 0
    done = command("audit", tmp_path / "run")
    assert done.code == 4
    assert "No point of this run promises anything" in done.out


def test_an_adapter_that_cannot_be_read_is_a_verdict_and_no_crash(copy):
    adapter = copy / "tiny" / "adapters" / "eps-2-seed-0.safetensors"
    adapter.unlink()
    done = command("audit", copy / "tiny", "--quick", "--out", copy / "gone")
    assert done.code == 3
    assert "VIOLATED: files" in done.out


def test_an_audit_has_no_other_deltas(quick):
    done = command("verify", quick[0] / "tiny-audit", "--deltas", "1e-6")
    assert done.code == 2
    assert "--deltas" in done.error


def test_nothing_is_written_into_a_run(copy):
    """Its seal knows no such file: the run would no longer verify."""
    adapter = copy / "tiny" / "adapters" / "eps-2-seed-0.safetensors"
    assert command("audit", adapter).code == 4
    assert (copy / "tiny-eps-2-seed-0-audit" / "audit.json").is_file()
    assert "is not beside it" not in command("verify", copy / "tiny-eps-2-seed-0-audit").out
    assert command("audit", adapter, "--out", copy / "tiny" / "adapters" / "x").code == 2
    assert command("verify", copy / "tiny").code == 0


def test_an_audit_is_told_from_a_run(copy):
    done = command("audit", copy / "tiny-audit")
    assert done.code == 2
    assert "starling verify" in done.err


def test_what_promises_nothing_is_said_not_to_be_covered(quick):
    assert "1 of 2 points promise nothing and are not covered" in quick[1].out
    assert "whoever ran it audited it" in quick[1].out


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda tree: tree["parts"][0]["findings"][0].update(verdict=[]),
        lambda tree: tree["parts"][0]["findings"][0].update(figures={"bound": "much"}),
        lambda tree: tree["parts"][0]["findings"][0].pop("words"),
        lambda tree: tree["audited"].update(name="\0"),
        lambda tree: tree["audited"].update(files=[]),
        lambda tree: tree.update(parts=3),
        lambda tree: tree.update(settings="none"),
    ],
)
def test_what_is_no_audit_is_one_line(copy, spoilt):
    file, tree = copy / "tiny-audit" / "audit.json", told(copy / "tiny-audit")
    spoilt(tree)
    file.write_text(json.dumps(tree))
    done = command("verify", copy / "tiny-audit")
    assert done.code in (2, 3)
    assert "unexpected" not in done.err
