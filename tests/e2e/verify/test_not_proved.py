"""What `starling verify` does not prove is a list in docs/privacy.md: each thing on it passes."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from shared.config import dump_toml, from_dict
from shared.metrics import ranking_metrics
from shared.privacy.keys import load_or_create_signing_key
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import SECURE, read_promise
from shared.privacy.ledger.spent import end_of
from shared.privacy.policy.signed import load_policy, signed
from shared.run_files import RunFolder
from simulations.compare import Difference, beside, stated_means
from simulations.results import Point, Reference, Results
from simulations.table import write_tables
from simulations.verify.comparisons import possible_errors
from simulations.verify.run import verify_run
from tests.support import ROOT
from tests.support.privacy.forging import (
    adapter,
    byte,
    load,
    only,
    other_histogram,
    retold,
)
from tests.support.privacy.forging import reseal as sealed


def reseal(run, found):
    """With the tables that follow from it, where there were any."""
    if (run / "results.csv").exists():
        write_tables(Results.of(found), RunFolder(run))
    sealed(run, found)


def other_data(run):
    found = load(run)
    found["data"] |= {"name": "census", "interactions": 10**9}
    reseal(run, found)


def better_model(run):
    found, ranks = load(run), np.arange(40)
    found["points"][0]["metrics"] = ranking_metrics(ranks // 4, ranks // 2)
    reseal(run, restated(found))


def restated(found):
    """With all comparisons as they follow from the metrics, and errors that there can be."""
    others = {name: Reference(each) for name, each in found["references"].items()}
    for point in found["points"]:
        for name, other in beside(Point(point), others).items():
            for metric, told in point["compared"][name].items():
                both = point["metrics"], other.metrics
                means = tuple(each[metric] for each in both)
                errors = tuple(each[f"{metric}_se"] for each in both)
                users = point["metrics"]["users"]
                error, _ = possible_errors(metric, means, errors, users)
                own = Difference.over([(means[0] - means[1], error)], users)
                told |= {**own.stated(), "se": error}
    return found | {"compared": stated_means([Point(point) for point in found["points"]])}


def other_numbers(run):
    file = adapter(run)
    others = {k: v + 1 for k, v in load_file(file).items() if k != "mix.weight"}
    retold(file, read_promise(file), **others)
    reseal(run, load(run))


def other_drawn(run):
    file = adapter(run)
    drawn = {k: v - 1 for k, v in load_file(file).items() if "lora_A" in k or k == "item_up.weight"}
    assert drawn
    retold(file, read_promise(file), **drawn)
    reseal(run, load(run))


def another_unit(run):
    file = adapter(run)
    mix = load_file(file)["mix.weight"]
    mix[0] *= 2  # the text's
    retold(file, read_promise(file), **{"mix.weight": mix})
    reseal(run, load(run))


def called_secure(run):
    """Of a real run: its sums' noise follows from a seed, and it says that it does not."""
    file, rng = adapter(run), np.random.default_rng(0)
    assert load(run)["points"][0]["noise"] == SECURE
    (bias,) = (each for name, each in load_file(file).items() if name == "item_bias.weight")
    noised = bias + rng.normal(size=bias.shape).astype(bias.dtype)
    retold(file, read_promise(file), **{"item_bias.weight": noised})
    reseal(run, load(run))


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
    (run / "config.toml").write_text(dump_toml(from_dict(found["config"])))
    (run / gone["ledger"]["file"]).unlink()
    for file in run.glob("*/eps-inf-*"):
        file.unlink()
    reseal(run, restated(found))


def never_asked_for(run):
    found = load(run)
    found["config"]["sweep"]["references"].remove("popularity")
    del found["references"]["popularity"]
    for point in found["points"]:
        del point["compared"]["popularity"]
    (run / "config.toml").write_text(dump_toml(from_dict(found["config"])))
    (run / "points" / "reference-popularity.json").unlink()
    reseal(run, restated(found))


def other_machine(run):
    found = load(run)
    found["environment"] |= {"python": "4", "platform": "epsilon 0.1"}
    reseal(run, found | {"starling": "9"})


def other_costs(run):
    found = load(run)
    found["points"][0]["communication_bytes"]["up"] = found["points"][0]["seconds"] = 1
    reseal(run, found)


def report_says_otherwise(run):
    (run / "report.html").write_text("epsilon 0.1")
    byte(run / "curve.png")
    reseal(run, load(run))


def other_counts(run):
    other_histogram(run)
    reseal(run, load(run))


def commented(run):
    for file in (run / "config.toml", only(run, "points/eps-2-*.toml")):
        file.write_text(f"# epsilon 0.1\n{file.read_text()}")
    reseal(run, load(run))


def more_users(run):
    """A cohort that is a share of them, and so is q, whoever many there are."""
    found, policy = load(run), only(run, "points/*.policy.json")
    found["data"]["users"] = 60
    for kind in ("cohort", "communication_bytes"):
        found["points"][0].pop(kind)
    found["points"][0]["cohort"] = 60.0
    told = load_policy(policy, None)
    policy.write_text(signed(replace(told, users=60), load_or_create_signing_key()))
    reseal(run, found)


def working_file(run):
    byte(only(run, "points/*.checkpoint"))


BESIDE = (
    "report-2.html",
    ".report.html",
    "points/eps-0.01-seed-0.safetensors",
    "devices/REPORT.html",
    "points/deeper/report.html",
)


def file_beside(run):
    for name in BESIDE:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("epsilon 0.1")


PLANTED = {
    "the data are others": other_data,
    "the model ranks otherwise": better_model,
    "the adapter's numbers are others": other_numbers,
    "the drawn tensors are others": other_drawn,
    "the texts' weights have another unit": another_unit,
    "the noise was seeded": called_secure,
    "everything was made anew": made_anew,
    "a point was never planned": never_planned,
    "a reference was never asked for": never_asked_for,
    "the machine is another": other_machine,
    "the costs are others": other_costs,
    "the report says otherwise": report_says_otherwise,
    "the histogram's counts are others": other_counts,
    "a comment in the settings": commented,
    "the users are others": more_users,
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
def test_what_is_on_the_list_passes(name, run, deployed, tmp_path):
    whole = deployed if PLANTED[name] in (more_users, called_secure) else run
    copy = shutil.copytree(whole, tmp_path / "copy")
    PLANTED[name](copy)
    report = verify_run(copy)
    assert report.exit_code == 0, (report.problems, [row.reasons for row in report.rows])
    told = sorted(
        line.partition(": not sealed, and no file of the run")[0] for line in report.unsealed
    )
    assert told == (sorted(BESIDE) if name == "a file beside the run's" else [])


def test_a_simulation_that_says_its_noise_was_the_systems_is_refused(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    found = load(copy)
    retold(adapter(copy), {**read_promise(adapter(copy)), "noise": SECURE})
    found["points"][0]["noise"] = SECURE
    reseal(copy, found)
    report = verify_run(copy)
    assert report.exit_code == 3
    assert "a simulation's is 'seeded: not for release'" in report.rows[0].reason


WORKING = ("data.json", "*.checkpoint", "*.outcome.json", "*.sealed.json", "*.initial.safetensors")


def test_what_is_taken_out_before_a_run_is_handed_on_is_not_missed(run, tmp_path):
    """The working files that docs/privacy.md names."""
    run = shutil.copytree(run, tmp_path / "run")
    page = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
    taken = [file for name in WORKING for file in (run / "points").glob(name)]
    assert len(taken) >= len(WORKING)
    assert all(name in page for name in WORKING)
    for file in taken:
        file.unlink()
    report = verify_run(run)
    assert (report.exit_code, report.problems) == (0, ())
