"""What `starling verify` does not prove is a list in docs/privacy.md: each thing on it passes."""

import re
import shutil

import pytest
from safetensors.numpy import load_file

from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import SECURE, read_promise
from shared.privacy.ledger.spent import end_of
from simulations.verify.run import verify_run
from tests.e2e.verify.test_forgeries import adapter, byte, load, only, reseal, retold
from tests.support import ROOT


def other_data(run):
    found = load(run)
    found["data"] |= {"name": "census", "interactions": 10**9}
    reseal(run, found)


def better_model(run):
    found = load(run)
    found["points"][0]["metrics"]["hr@10"] = 0.99
    reseal(run, found)


def other_numbers(run):
    file = adapter(run)
    retold(file, read_promise(file), **{k: v + 1 for k, v in load_file(file).items()})
    reseal(run, load(run))


def called_secure(run):
    found = load(run)
    retold(adapter(run), {**read_promise(adapter(run)), "noise": SECURE})
    found["points"][0]["noise"] = SECURE
    reseal(run, found)


def made_anew(run):
    found, file = load(run), run / load(run)["points"][0]["ledger"]["file"]
    old = Ledger.open(file)
    file.unlink()
    again = Ledger.create(file, type(old.header)(old.header.guarantee, old.header.settings))
    for entry in old.entries:
        again.append(entry.round, entry.release, entry.event)
    found["points"][0]["ledger"] = end_of(again)
    promise = read_promise(adapter(run))
    promise["guarantees"][0]["ledger_head"] = again.head
    retold(adapter(run), promise)
    reseal(run, found)


def never_planned(run):
    found = load(run)
    gone = found["points"].pop(1)
    found["config"]["sweep"]["epsilons"] = [2.0]
    (run / gone["ledger"]["file"]).unlink()
    for file in run.glob("*/eps-inf-*"):
        file.unlink()
    reseal(run, found)


def working_file(run):
    byte(only(run, "points/*.checkpoint"))


def file_beside(run):
    (run / "report-2.html").write_text("epsilon 0.1")


PLANTED = {
    "the data are others": other_data,
    "the model ranks otherwise": better_model,
    "the adapter's numbers are others": other_numbers,
    "the noise was seeded": called_secure,
    "everything was made anew": made_anew,
    "a point was never planned": never_planned,
    "a working file": working_file,
    "a file beside the run's": file_beside,
}


def listed():
    page = (ROOT / "docs" / "privacy.md").read_text()
    section = page.partition("### What verify does not prove")[2].partition("\n#")[0]
    return set(re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)) - {"what"}


def test_the_list_and_what_is_planted_are_one():
    assert listed() == set(PLANTED)


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_on_the_list_passes(name, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    PLANTED[name](copy)
    report = verify_run(copy)
    assert report.exit_code == 0, (report.problems, [row.reasons for row in report.rows])
    told = any("report-2.html: not sealed" in line for line in report.unsealed)
    assert told == (name == "a file beside the run's")
