"""`starling evaluate --off-policy`: policies valued by logs, from the command and from Python."""

import json
import os
from pathlib import Path

import pytest

import starling
from tests.support import ROOT
from tests.support.command import command, write_settings

WORLD = "[world]\nslate = 2\narrivals = 0.1\n"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    settings = folder / "world.toml"
    settings.write_text(WORLD)
    done = command("data", "world", "--users", 20, "--config", settings, "--out", folder / "log")
    assert done.code == 0, done.err
    return folder / "log"


def open_bandit(policy, campaign):
    for folder in (os.environ.get("STARLING_DATA"), ROOT.parent / "shared" / "data"):
        file = Path(folder or "") / "open-bandit" / policy / campaign / f"{campaign}.csv"
        if folder and file.exists():
            return file
    pytest.skip("the Open Bandit Dataset is neither in $STARLING_DATA nor in ../shared/data")


def test_a_table_for_people_and_a_document_for_scripts(log):
    done = command("evaluate", "--off-policy", log, "--policy", "popularity")
    assert done.code == 0, done.err
    for word in ("doubly robust (DR)", "switch-DR", "largest weight", "bootstrap"):
        assert word in done.out
    document = json.loads(command("evaluate", "--off-policy", log, "--json").out)
    found = starling.value_policy(log)
    assert document["policy"] == "uniform"
    assert document["estimates"]["dr"]["value"] == found.estimates["dr"].value
    assert document["mean_weight"]["low"] < 1 < document["mean_weight"]["high"]
    assert document["draws"] == 1000


def test_the_log_as_a_policy_of_itself(log):
    """What a log shows is worth about what it earned; its frequencies know no slates."""
    found = starling.value_policy(log, policy=str(log))
    logged = found.logged
    assert found.estimates["dr"].low < logged.high
    assert found.estimates["dr"].high > logged.low
    assert found.unsupported == 0


def test_an_adapters_ranking_is_a_policy(log, tiny_bert, tmp_path):
    settings = write_settings(tmp_path, rounds=1, references=())
    text = settings.read_text() + WORLD
    settings.write_text(text.replace("[2.0, inf]", "[inf]"))
    words = ("--config", settings, "--backbone", tiny_bert, "--out", tmp_path / "run", "--quiet")
    made = command("simulate", *words)
    assert made.code == 0, made.err
    adapter = tmp_path / "run" / "adapters" / "eps-inf-seed-0.safetensors"
    flat = starling.value_policy(log, str(adapter), temperature=1e6)
    plain = starling.value_policy(log)
    for name in ("ips", "dr"):
        assert flat.estimates[name].value == pytest.approx(plain.estimates[name].value, rel=1e-3)
    sharp = starling.value_policy(log, str(adapter), temperature=1.0)
    assert sharp.largest_weight > 2 * flat.largest_weight


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--off-policy", "none.csv"), "error: none.csv: there is no such file"),
        (("--policy", "uniform"), "error: --policy uniform: is of --off-policy LOG"),
        (("--adapter", "a.safetensors"), "error: --data is missing; give both"),
        (("--off-policy", "LOG", "--data", "world"), "goes without --data"),
        (("--off-policy", "LOG", "--policy", "best"), "error: policy 'best': neither uniform"),
        (("--off-policy", "LOG", "--temperature", "0"), "temperature (--temperature) = 0: "),
    ],
)
def test_mistakes_are_one_line(log, words, told):
    done = command("evaluate", *(str(log) if word == "LOG" else word for word in words))
    assert done.code == 2
    assert told in done.error


@pytest.mark.parametrize("campaign", ["men", pytest.param("women", marks=pytest.mark.slow)])
def test_open_bandit_from_random_to_bts(campaign):
    """By uniformly random showings: within the interval of what bts earned when it ran."""
    by, of = open_bandit("random", campaign), open_bandit("bts", campaign)
    ran = starling.value_policy(of).logged
    found = starling.value_policy(by, policy=str(of))
    for name in ("ips", "snips", "dr", "switch_dr"):
        assert ran.low <= found.estimates[name].value <= ran.high
    assert found.warnings == []


@pytest.mark.slow
def test_open_bandit_from_bts_to_random():
    """The other way a few rows decide: told, and switch-DR alone stays within the interval."""
    by, of = open_bandit("bts", "women"), open_bandit("random", "women")
    ran = starling.value_policy(of).logged
    found = starling.value_policy(by)
    assert ran.low <= found.estimates["switch_dr"].value <= ran.high
    assert not ran.low <= found.estimates["dr"].value <= ran.high
    assert any("few of them decide" in line for line in found.warnings)
