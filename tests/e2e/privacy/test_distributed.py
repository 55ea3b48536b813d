"""Noise in shares from the command line: run, page, verification, alterations."""

import json
import shutil

import pytest

from tests.support.command import command, results


@pytest.fixture(scope="module")
def shared(settings, tiny_bert, tmp_path_factory, own_folders):
    folder = tmp_path_factory.mktemp("runs") / "shared"
    file = tmp_path_factory.mktemp("few") / "settings.toml"
    file.write_text(settings.read_text() + "[privacy]\nmin_survivors = 0.25\n")
    done = command(
        "simulate", "--config", file, "--backbone", tiny_bert, "--out", folder,
        "--trust", "distributed", "--epsilon", 8, "--references", "popularity",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "distributed trust" in done.out
    return folder


def test_a_point_states_what_it_counts_on_and_what_it_spent(shared):
    (point,) = results(shared)["points"]
    assert (point["unit"], point["trust"], point["relation"]) == (
        "user",
        "distributed",
        "zero_out",
    )
    assert 7.99 < point["epsilon"] <= 8.0
    assert point["epsilon_prv"] is None
    # Of 40 users 12 are expected in a round, of whom 3 must be honest beside 4 who collude.
    words = (
        "at least 3 of the 7 or more devices in every sum of a round and 10 of the 14 or more in"
    )
    assert words in point["adversary"]
    for kind, times in (("update", 2), ("histogram", 1)):
        planned = point["releases"][kind]
        assert planned["times"] == times
        assert planned["event"]["kind"] == "skellam"
        assert planned["event"]["l2_sensitivity"] == 256.0
    assert point["sampling_probability"] == 1.0  # nothing is amplified


def test_it_verifies_and_its_page_says_what_holds(shared):
    done = command("verify", shared)
    assert done.code == 0, done.out
    assert "user, distributed" in done.out
    page = (shared / "report.html").read_text()
    for words in (
        "so that somebody is among them is not hidden",
        "noised sums only",
        "secure aggregation",
    ):
        assert words in page
    assert "rounding can leak" not in page  # of floating point, of which there is none


def changed(change):
    def attack(folder):
        found = results(folder)
        change(found, found["points"][0])
        (folder / "results.json").write_text(json.dumps(found))

    return attack


def event(kind="update", **fields):
    return changed(lambda found, point: point["releases"][kind]["event"].update(fields))


def trust(found, point):
    point["trust"] = found["config"]["privacy"]["trust"] = "central"


def fewer(found, point):
    found["config"]["privacy"]["min_survivors"] = 0.1


ATTACKS = {
    "noise": (event(variance=1e12), "claimed"),
    "noise in numbers": (
        changed(lambda found, point: point.update(noise_multiplier=9.0)),
        "noise_multiplier = 9 claimed, the event has",
    ),
    "sensitivity": (event(l2_sensitivity=1.0), "sensitivities 1 and 65536 claimed"),
    "no sensitivity": (event(l2_sensitivity=0.0), "update: no Skellam noise"),
    "negative variance": (event(variance=-1.0), "update: no Skellam noise"),
    "another mechanism": (
        changed(
            lambda found, point: point["releases"]["update"].update(
                event={"kind": "gaussian", "noise_multiplier": 9.0}
            )
        ),
        "update: no Skellam noise",
    ),
    "another trust": (changed(trust), "policy"),
    "a smaller ring": (
        changed(lambda found, point: found["config"]["privacy"].update(ring_bits=12)),
        "the settings' ring gives",
    ),
    "fewer survivors": (changed(fewer), "adversary"),
    "fewer that collude": (
        changed(lambda found, point: found["config"]["privacy"].update(colluding=0.0)),
        "adversary",
    ),
}


@pytest.mark.parametrize(("attack", "words"), ATTACKS.values(), ids=list(ATTACKS))
def test_every_alteration_is_found(attack, words, shared, tmp_path):
    copy = shutil.copytree(shared, tmp_path / "copy")
    attack(copy)
    done = command("verify", copy)
    assert done.code == 3
    assert words in done.out


def test_resuming_changes_nothing(shared, tmp_path):
    copy = shutil.copytree(shared, tmp_path / "copy")
    before = (copy / "results.json").read_text()
    assert command("simulate", "--resume", copy).code == 0
    assert (copy / "results.json").read_text() == before
