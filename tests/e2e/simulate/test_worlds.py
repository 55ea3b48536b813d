"""Worlds of many people and of many effects, from the command to its files."""

import json

import pytest

from shared.config.presets import preset_file
from tests.support.command import command, results


@pytest.fixture(scope="module")
def deep(tiny_bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "deep"
    settings = tmp_path_factory.mktemp("settings") / "world-deep.toml"
    text = preset_file("world-deep").read_text()
    settings.write_text(text.replace("projection_rank = 64", "projection_rank = 4"))  # tiny width
    done = command(
        *("simulate", "--config", settings, "--users", 40, "--rounds", 2, "--cohort", 12),
        *("--epsilon", "inf", "--backbone", tiny_bert, "--out", folder),
    )
    assert done.code == 0, done.err
    return folder


def test_a_released_adapter_is_evaluated_in_its_own_world(deep):
    """With drift, scenarios, arrivals and slates: without them it is another population."""
    adapter = deep / "adapters" / "eps-inf-seed-0.safetensors"
    done = command("evaluate", "--data", "world", "--adapter", adapter, "--json")
    assert done.code == 0, done.err
    stated = results(deep)["points"][0]["metrics"]
    assert json.loads(done.out)["metrics"] == pytest.approx(stated, rel=1e-6)
    assert stated["users"] == results(deep)["data"]["evaluated_users"]


def test_the_deep_world_is_bound_into_the_run(deep):
    done = command("verify", deep)
    assert done.code == 0, done.out + done.err
    settings = deep / "config.toml"
    settings.write_text(settings.read_text().replace("drift = 0.5", "drift = 0.6"))
    altered = command("simulate", "--resume", deep)
    assert altered.code == 2
    assert "world.drift (0.5 then, 0.6 now)" in altered.error


def test_inspect_tells_what_happens_in_the_preset():
    done = command("data", "inspect", "world", "--preset", "world-deep", "--users", 30, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["world"]["items_arriving"] == 60
    assert sum(found["world"]["scenario_shares"]) == pytest.approx(1)
    assert len(found["world"]["clicked"]) == 5
    assert 0 < found["world"]["least_propensity"] < 1 / 240
    lines = command("data", "inspect", "world", "--preset", "world-deep", "--users", 30).out
    for word in ("slates: ", "clicked, by place: ", "test targets: ", "scenarios: home "):
        assert word in lines


def test_a_million_people_take_three_rounds(tiny_bert, tmp_path):
    settings = tmp_path / "few.toml"
    settings.write_text(
        "[data]\nspec = 'world'\nusers = 1_000_000\nevaluated_users = 50\n"
        "[model]\nlayers = 1\nmax_length = 12\nlora_rank = 1\n"
        "[federation]\nrounds = 3\ncohort = 20\npopularity_start = false\n"
        "[sweep]\nepsilons = [inf]\nreferences = ['popularity', 'zero_shot']\n"
    )
    done = command(
        "simulate", "--config", settings, "--backbone", tiny_bert, "--out", tmp_path / "run"
    )
    assert done.code == 0, done.err
    found = results(tmp_path / "run")
    assert (found["data"]["users"], found["data"]["evaluated_users"]) == (1_000_000, 50)
    assert found["points"][0]["metrics"]["users"] == 50
    assert found["references"]["popularity"]["metrics"]["users"] == 50
    assert found["points"][0]["cohort"] == 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data", "inspect", "world", "--preset", "nothing"], "--preset nothing: unknown"),
        (["data", "inspect", "world", "--preset", "demo", "--config", "x"], "give one of them"),
        (["data", "world", "--out", "w", "--config", "absent.toml"], "absent.toml: cannot be read"),
    ],
)
def test_mistakes_are_one_line(arguments, words):
    done = command(*arguments)
    assert done.code == 2
    assert words in done.error
