"""A sweep that was killed continues to the same end; one that is interrupted says how.

Instants are random, so that no run of this test is spared the ones that nobody thought of; a
failure names them. `benchmarks/interrupt.py` tries many more, by the same functions.
"""

import importlib.util
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from shared.files import FolderLock
from tests.support import ROOT
from tests.support.command import command

BENCHMARK = ROOT / "benchmarks" / "interrupt.py"
CONTINUE = "continue with --resume where the command offers it"
SEED = 20  # of the instants
KILLS = 2


@pytest.fixture(scope="module")
def interrupt():
    """The benchmark as a module; its folder's name is taken by another package."""
    spec = importlib.util.spec_from_file_location("interrupt_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["interrupt_benchmark"] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["interrupt_benchmark"]


@pytest.fixture(scope="module")
def sweep(interrupt, tiny_bert, tmp_path_factory, own_folders):
    return interrupt.prepare(
        tmp_path_factory.mktemp("sweep"),
        seeds=(0,),
        engine="cohort",
        rounds=12,
        backbone=str(tiny_bert),
        unit="user",
        trust="central",
    )


@pytest.fixture(scope="module")
def whole(sweep, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    started = time.monotonic()
    done = command("simulate", "--config", sweep.settings, "--out", folder, "--quiet")
    assert done.code == 0, done.err
    return folder, time.monotonic() - started


def when(folder, found, process):
    """Wait for something in a run's folder."""
    deadline = time.monotonic() + 120
    while not found(folder):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run did not come as far as it should"
        time.sleep(0.002)


def has_begun(folder):
    return (folder / "results.json").is_file()


def kill_at_work(sweep, folder, delay):
    """Kill a process so many seconds after its work began."""
    before = (folder / "results.json").stat().st_mtime_ns if has_begun(folder) else 0
    process = sweep.start(folder)
    try:
        when(
            folder,
            lambda f: has_begun(f) and (f / "results.json").stat().st_mtime_ns > before,
            process,
        )
        time.sleep(delay)
    finally:
        process.kill()
        process.communicate()
    return process.returncode


def test_killed_at_random_and_resumed_ends_like_uninterrupted(interrupt, sweep, whole, tmp_path):
    folder, (expected, seconds) = tmp_path / "run", whole
    rng = random.Random(SEED)
    delays = [rng.random() * seconds / 2 for _ in range(KILLS)]
    codes = [kill_at_work(sweep, folder, delay) for delay in delays]
    assert codes[0] == -signal.SIGKILL
    # In a process like the others: with other threads the last digit of an accountant may differ.
    process = sweep.start(folder)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert interrupt.compare(folder, expected) == [], delays


def test_the_comparison_sees_a_difference(interrupt, whole, tmp_path):
    copy = shutil.copytree(whole[0], tmp_path / "copy")
    assert interrupt.compare(copy, whole[0]) == []
    (copy / "points" / "left.part").touch()
    results = copy / "results.json"
    results.write_text(results.read_text().replace('"hr@10": 0.', '"hr@10": 1.', 1))
    adapter = next(copy.glob("adapters/*"))
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"\0")
    found = " ".join(interrupt.compare(copy, whole[0]))
    for name in ("left.part", "results.json", adapter.name):
        assert name in found


def test_stopped_by_hand_while_another_process_is_refused(sweep, whole, tmp_path):
    folder = tmp_path / "run"
    first = sweep.start(folder)
    try:
        when(folder, has_begun, first)
        second = command("simulate", "--resume", folder)
        assert second.code == 2
        assert "another process is at work in this folder" in second.error
        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=60)
    finally:
        first.kill()
        first.communicate()
    assert first.returncode == 130, err
    assert err.strip().splitlines() == [f"interrupted; {CONTINUE}"]
    with FolderLock(folder) as lock:
        lock.take()  # the lock has gone with the process that held it


@pytest.mark.parametrize(
    ("by", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_stopped_while_it_starts_leaves_nothing(by, code, word, sweep, tmp_path):
    """Imports take most of a start; one line then, too, instead of a stack of other people's."""
    folder = tmp_path / "run"
    process = sweep.start(folder)
    maps = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + 60
    while maps.exists() and "libtorch" not in maps.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)  # until the command, which hears signals, imports what it needs
    time.sleep(1.0)
    process.send_signal(by)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err.strip().splitlines() == [f"{word}; {CONTINUE}"]
    assert not (folder / "config.toml").exists()
