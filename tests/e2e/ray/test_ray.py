"""`--engine ray` from simulate to verify, through kill -9; nothing is left running."""

import json
import signal

import pytest
from safetensors.numpy import load_file

from tests.support.command import command, finish, results, start, stop_when, write_settings
from tests.support.running.processes import marked, wait_until_gone
from tests.support.tiny import relative

__all__ = ["marked"]  # a fixture

ROUNDS = 4
LEDGER = "ledger-eps-2-seed-0.jsonl"
POINTS = ("eps-2-seed-0", "eps-inf-seed-0")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return write_settings(tmp_path_factory.mktemp("ray"), rounds=ROUNDS, references=())


@pytest.fixture(scope="module")
def cohort(settings, tiny_bert, tmp_path_factory, own_folders):
    folder = tmp_path_factory.mktemp("cohort") / "run"
    done = command("simulate", "--config", settings, "--backbone", tiny_bert, "--out", folder)
    assert done.code == 0, done.err
    return folder


def arguments(settings, tiny_bert, folder):
    return (
        "simulate", "--config", settings, "--backbone", tiny_bert, "--engine", "ray",
        "--workers", 1, "--out", folder,
    )  # fmt: skip


def same_points(ours, theirs):
    for name in POINTS:
        one, other = (load_file(f / "adapters" / f"{name}.safetensors") for f in (ours, theirs))
        for key, array in other.items():
            assert relative(one[key], array) < 1e-4 or not array.any(), (name, key)
    for one, other in zip(results(ours)["points"], results(theirs)["points"], strict=True):
        assert one["metrics"] == other["metrics"]
        assert one["epsilon"] == other["epsilon"]


@pytest.mark.slow
def test_killed_and_resumed_on_ray_gives_the_cohorts_run(
    settings, tiny_bert, cohort, tmp_path, marked
):
    folder = tmp_path / "run"
    first = start(*arguments(settings, tiny_bert, folder))
    stop_when(first, folder / LEDGER, 4, signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    wait_until_gone(marked)
    second = start("simulate", "--resume", folder)
    _, err = finish(second)
    assert second.returncode == 0, err
    assert "Traceback" not in err
    assert "Ray" not in err
    wait_until_gone(marked)
    same_points(folder, cohort)
    assert command("verify", folder).code == 0
    adapter = folder / "adapters" / "eps-2-seed-0.safetensors"
    chosen = ("--data", "world", "--users", 40, "--adapter", adapter, "--json")
    evaluated = json.loads(command("evaluate", *chosen).out)
    assert evaluated["metrics"] == pytest.approx(results(folder)["points"][0]["metrics"], abs=1e-6)
    ranked = json.loads(command("recommend", *chosen, "--user", "u3").out)
    assert len(ranked["recommendations"]) == 10


@pytest.mark.slow  # one more start of Ray; the same way out as an error's, which CI covers
def test_interrupted_on_ray_says_how_to_continue(settings, tiny_bert, cohort, tmp_path, marked):
    folder = tmp_path / "run"
    process = start(*arguments(settings, tiny_bert, folder))
    _, err = stop_when(process, folder / LEDGER, 4, signal.SIGINT)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "--resume" in err.strip().splitlines()[-1]
    wait_until_gone(marked)
    second = start("simulate", "--resume", folder)
    _, err = finish(second)
    assert second.returncode == 0, err
    same_points(folder, cohort)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (
            ("--gpus-per-client", "0.5", "--device", "cpu"),
            "engine.gpus_per_client (--gpus-per-client) = 0.5",
        ),
        (("--cpus-per-client", "4096"), "engine.cpus_per_client (--cpus-per-client) = 4096"),
    ],
)
def test_a_machine_too_small_is_one_line(flags, named, settings, tiny_bert, tmp_path):
    done = command(*arguments(settings, tiny_bert, tmp_path / "run"), *flags)
    assert done.code == 2
    assert named in done.error
    assert not (tmp_path / "run").exists()
