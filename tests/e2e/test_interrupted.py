"""A run that was killed continues to the same end; one that is interrupted says how."""

import signal
import time

import pytest
from safetensors.numpy import load_file

from shared.privacy.ledger import Ledger
from tests.support.command import command, results, start, write_settings

ROUNDS = 30
PRIVATE, OPEN = "ledger-eps-2-seed-0.jsonl", "ledger-eps-inf-seed-0.jsonl"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    return write_settings(folder, rounds=ROUNDS, references=("popularity",))


@pytest.fixture(scope="module")
def uninterrupted(settings, tiny_bert, tmp_path_factory, own_folders):
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = command("simulate", "--config", settings, "--backbone", tiny_bert, "--out", folder)
    assert done.code == 0, done.err
    return folder


def stop_when(process, ledger, lines, by):
    """Send a signal once a ledger has so many lines."""
    deadline = time.monotonic() + 120
    try:
        while not (ledger.is_file() and ledger.read_bytes().count(b"\n") >= lines):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "the run did not come as far as it should"
            time.sleep(0.005)
        process.send_signal(by)
        return process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def compare(folder, whole):
    for name in (PRIVATE, OPEN):
        assert Ledger.open(folder / name).entries == Ledger.open(whole / name).entries
    ours, theirs = results(folder), results(whole)
    assert ours["complete"] is True
    for one, other in zip(ours["points"], theirs["points"], strict=True):
        for key in ("epsilon", "metrics", "validation", "history", "communication_bytes"):
            assert one[key] == other[key], key
    for name in ("eps-2-seed-0", "eps-inf-seed-0"):
        arrays = [load_file(f / "adapters" / f"{name}.safetensors") for f in (folder, whole)]
        for key, array in arrays[1].items():
            assert (arrays[0][key] == array).all(), (name, key)


def test_killed_twice_and_resumed_ends_like_uninterrupted(
    settings, tiny_bert, uninterrupted, tmp_path
):
    folder = tmp_path / "run"
    first = start("simulate", "--config", settings, "--backbone", tiny_bert, "--out", folder)
    stop_when(first, folder / PRIVATE, 8, signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    assert results(folder)["points"] == []
    second = start("simulate", "--resume", folder)
    stop_when(second, folder / OPEN, 6, signal.SIGKILL)
    assert second.returncode == -signal.SIGKILL
    assert results(folder)["complete"] is False
    done = command("simulate", "--resume", folder)
    assert done.code == 0, done.err
    compare(folder, uninterrupted)
    assert command("verify", folder).code == 0


def test_interrupted_by_hand_says_how_to_continue(settings, tiny_bert, uninterrupted, tmp_path):
    folder = tmp_path / "run"
    process = start("simulate", "--config", settings, "--backbone", tiny_bert, "--out", folder)
    _, err = stop_when(process, folder / PRIVATE, 8, signal.SIGINT)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "--resume" in err.strip().splitlines()[-1]
    assert command("simulate", "--resume", folder).code == 0
    compare(folder, uninterrupted)
