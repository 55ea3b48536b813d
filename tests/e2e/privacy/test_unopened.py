"""Noise in shares of which too few came: the sum stays closed, the run goes on, and says so."""

import shutil

import pytest

from tests.support.command import command, results
from tests.support.privacy.forging import load, reseal

FEW = """[privacy]
min_survivors = 1.0
colluding = 0.0
histogram_share = 0.2
moments_share = 0.4
"""
# Of 20 that are needed in either sum 18 and 18 are drawn, 18 and 21, 24 and 20.
OPENED = {1: (False, False), 3: (False, True), 2: (True, True)}


@pytest.fixture(scope="module")
def flags(settings, tiny_bert, tmp_path_factory, own_folders):
    file = tmp_path_factory.mktemp("few") / "settings.toml"
    text = settings.read_text().replace("[model]", "[model]\nmoments_rank = 4")
    file.write_text(text.replace("[federation]", "[federation]\npopularity_cohort = 20") + FEW)
    return [
        *("--config", file, "--backbone", tiny_bert, "--references", "none"),
        *("--trust", "distributed", "--epsilon", 8, "--cohort", 1.0),
    ]


@pytest.fixture(scope="module")
def finished(flags, tmp_path_factory):
    """Not to be altered: copy it."""
    out = tmp_path_factory.mktemp("runs") / "few"
    done = command("simulate", *flags, "--rounds", 1, "--seeds", "1,2,3", "--out", out)
    assert done.code == 0, done.err
    return out


def test_what_was_not_opened_is_not_expected(finished):
    for point in results(finished)["points"]:
        opened = dict(zip(("histogram", "moments"), OPENED[point["seed"]], strict=True))
        assert point["opened"] == opened
        name = f"points/eps-8-seed-{point['seed']}"
        for kind, file in (("histogram", "popularity"), ("moments", "moments")):
            assert (finished / f"{name}.{file}.safetensors").exists() == opened[kind]
        assert ("popularity_private" in point["references"]) == opened["histogram"]
    done = command("verify", finished)
    assert done.code == 0, done.out


@pytest.mark.parametrize("stated", [{"histogram": False}, {}, {"histogram": 1, "moments": 1}, None])
def test_what_was_opened_is_not_denied(stated, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "copy")
    found = load(run)
    point = next(at for at in found["points"] if at["seed"] == 2)
    point["opened"] = stated
    reseal(run, found)
    done = command("verify", run)
    assert done.code == 3
    assert "opened" in done.out


def test_without_rounds_there_is_then_nothing(flags, tmp_path):
    for flag in ("--out", "--resume"):
        words = [*flags, "--rounds", 0, "--seeds", 1] if flag == "--out" else []
        done = command("simulate", *words, flag, tmp_path / "run")
        assert done.code != 0
        assert "no popularity histogram was released" in done.err
        assert "Traceback" not in done.err
