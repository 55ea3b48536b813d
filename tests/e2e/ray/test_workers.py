"""`--workers 2` from simulate to verify: the run of one process, through the loss of a worker."""

import os
import re
import signal
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.support.command import (
    command,
    ended_after,
    finish,
    results,
    start,
    stop_when,
    wait_for,
    write_settings,
)
from tests.support.running.processes import marked, started_by, wait_until_gone
from tests.support.tiny import relative

__all__ = ["marked"]  # a fixture

ROUNDS = 5
LEDGER = "ledger-eps-2-seed-0.jsonl"
NAMES = ("popularity", "local_only")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    file = write_settings(tmp_path_factory.mktemp("workers"), rounds=ROUNDS, references=NAMES)
    file.write_text(file.read_text() + "[engine]\nshard = 4\n")
    return file


@pytest.fixture(scope="module")
def alone(settings, tiny_bert, tmp_path_factory, own_folders):
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = command("simulate", "--config", settings, "--backbone", tiny_bert, "--out", folder)
    assert done.code == 0, done.err
    return folder


def arguments(settings, tiny_bert, folder):
    return (
        "simulate", "--config", settings, "--backbone", tiny_bert, "--workers", 2,
        "--out", folder,
    )  # fmt: skip


def same_run(folder, alone):
    ours, theirs = results(folder), results(alone)
    assert list(ours["references"]) == list(theirs["references"]) == list(NAMES)
    for name in NAMES:
        assert ours["references"][name]["metrics"] == theirs["references"][name]["metrics"]
    for one, other in zip(ours["points"], theirs["points"], strict=True):
        assert one["adapter"] == other["adapter"]  # in the order of the sweep
        for key in ("metrics", "validation", "epsilon"):
            assert one[key] == other[key]
        arrays, expected = (load_file(f / one["adapter"]) for f in (folder, alone))
        for key, array in expected.items():
            assert relative(arrays[key], array) < 1e-6 or not array.any(), key
    assert ours["complete"]
    assert ours["environment"]["workers"] == 2


def helper(mark, name):
    """A process of Ray's."""
    return next(pid for pid in started_by(mark) if name in title(pid))


def patience(pid):
    """Seconds after which one of Ray's helpers ends itself when the command was killed."""
    told = Path(f"/proc/{pid}/environ").read_text()
    return float(re.search(r"RAY_gcs_rpc_server_reconnect_timeout_s=(\d+)", told)[1])


def title(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it has ended since
        return ""


def test_a_sweep_over_workers_is_that_of_one_process(settings, tiny_bert, alone, tmp_path, marked):
    folder = tmp_path / "run"
    process = start(*arguments(settings, tiny_bert, folder))
    with ended_after(process):
        wait_for((folder / LEDGER).exists, process)
        process.send_signal(signal.SIGSTOP)  # it must not come to its end meanwhile
        assert patience(helper(marked, "raylet/raylet")) == 5
        helpers = set(started_by(marked)) - {process.pid}
        # What is sent to the command's group, as by a terminal that closes, ends the command alone.
        assert {pid for pid in helpers if os.getpgid(pid) == os.getpgid(process.pid)} == set()
        os.kill(helper(marked, "ray::Worker"), signal.SIGKILL)
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert "a worker was lost; its work is done again" in err
    assert "Traceback" not in err
    wait_until_gone(marked)
    same_run(folder, alone)
    assert command("verify", folder).code == 0


@pytest.mark.slow  # two more starts of Ray; the parts are covered by the tests above and of Ray
@pytest.mark.parametrize(
    ("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_stopped_and_resumed_with_other_workers(
    by, code, settings, tiny_bert, alone, tmp_path, marked
):
    folder = tmp_path / "run"
    process = start(*arguments(settings, tiny_bert, folder))
    _, err = stop_when(process, folder / LEDGER, 4, by)
    assert process.returncode == code
    assert "Traceback" not in err
    if by != signal.SIGKILL:
        assert "--resume" in err.strip().splitlines()[-1]
    wait_until_gone(marked)
    again = start("simulate", "--resume", folder, "--workers", 2, "--quiet")
    _, err = finish(again)
    assert again.returncode == 0, err
    same_run(folder, alone)
