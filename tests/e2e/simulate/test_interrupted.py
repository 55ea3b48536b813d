"""A sweep that was killed continues to the same end; one that is interrupted says how.

Instants are drawn, so that not only those are tried that somebody thought of; a failure names
them. `benchmarks/interrupt.py` tries many more, by the same functions.
"""

import dataclasses
import importlib.util
import os
import random
import shutil
import signal
import sys
import time

import pytest
from safetensors.numpy import load_file, save_file

from shared.files import FolderLock
from shared.run_files import run_files
from tests.support import ROOT
from tests.support.command import command, ended_after, finish, unfinish, wait_for

BENCHMARK = ROOT / "benchmarks" / "interrupt.py"
SEED = 20  # of the instants
KILLS = 2
ROUND = 0.05  # seconds, at most


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
        rounds=8,
        backbone=str(tiny_bert),
        unit="user",
        trust="central",
    )


@pytest.fixture(scope="module")
def whole(sweep, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = command("simulate", "--config", sweep.settings, "--out", folder, "--quiet")
    assert done.code == 0, done.err
    return folder


def has_begun(folder):
    return (folder / "results.json").is_file()


def recorded(folder):
    """Lines on all ledgers: how far a sweep has come."""
    return sum(file.read_bytes().count(b"\n") for file in folder.glob("ledger-*.jsonl"))


def kill_at_work(sweep, folder, lines, delay):
    """Kill a process so many seconds after its ledgers have so many lines.

    Where this one is kept waiting for longer, the other may come to its end before.
    """
    process = sweep.start(folder)
    with ended_after(process):
        while recorded(folder) < lines and process.poll() is None:
            time.sleep(0.005)
        time.sleep(delay)
    assert process.returncode in (-signal.SIGKILL, 0)


def test_killed_at_random_and_resumed_ends_like_uninterrupted(interrupt, sweep, whole, tmp_path):
    """Each kill comes in another half of what the ledgers record, and then within a round or two.

    The last can fall into the last evaluation, sealing, the curve or the report.
    """
    folder = tmp_path / "run"
    rng, share = random.Random(SEED), recorded(whole) // KILLS
    instants = [(share * n + rng.randrange(share), rng.random() * ROUND) for n in range(KILLS)]
    for lines, delay in instants:
        kill_at_work(sweep, folder, lines, delay)
    process = sweep.start(folder)
    _, err = finish(process)
    assert process.returncode == 0, err
    assert interrupt.compare(folder, whole) == [], instants


def test_the_comparison_sees_a_difference(interrupt, whole, tmp_path):
    copy = shutil.copytree(whole, tmp_path / "copy")
    assert interrupt.compare(copy, whole) == []
    (copy / "points" / "left.part").touch()
    results = copy / "results.json"
    results.write_text(results.read_text().replace('"hr@10": 0.', '"hr@10": 1.', 1))
    adapter = next(copy.glob("adapters/*"))
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"\0")
    found = " ".join(interrupt.compare(copy, whole))
    for name in ("left.part", "results.json", adapter.name):
        assert name in found


def test_stopped_by_hand_while_another_process_is_refused(sweep, tmp_path):
    folder = tmp_path / "run"
    endless = dataclasses.replace(sweep, words=("--epsilon", "inf", "--rounds", "900000"))
    first = endless.start(folder)
    with ended_after(first):
        wait_for(lambda: has_begun(folder), first)
        first.send_signal(signal.SIGSTOP)  # the machine is the second's
        second = command("simulate", "--resume", folder)
        assert second.code == 2
        assert "another process is at work in this folder" in second.error
        first.send_signal(signal.SIGINT)
        first.send_signal(signal.SIGCONT)
        _, err = first.communicate()
    assert first.returncode == 130, err
    told = f"interrupted; continue: starling simulate --resume {folder}"
    assert err.strip().splitlines() == [told]
    with FolderLock(folder) as lock:
        lock.take()  # the lock has gone with the process that held it


@pytest.mark.parametrize(
    ("by", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_stopped_while_it_starts_leaves_nothing(by, code, word, sweep, tmp_path, monkeypatch):
    """Imports take most of a start; one line then, too, instead of a stack of other people's."""
    folder, slow = tmp_path / "run", tmp_path / "path" / "matplotlib.py"
    slow.parent.mkdir()
    slow.write_text(
        f"import pathlib, signal\npathlib.Path({str(slow)!r}).unlink()\nsignal.pause()\n"
    )
    path = os.pathsep.join(filter(None, [str(slow.parent), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    process = sweep.start(folder)
    with ended_after(process):
        wait_for(lambda: not slow.exists(), process)  # it is being imported, and takes its time
        process.send_signal(by)
        _, err = process.communicate()
    assert process.returncode == code, err
    assert err.strip().splitlines() == [f"{word}; nothing was made yet"]
    assert not (folder / "config.toml").exists()


def test_a_model_without_noise_that_an_interruption_left_goes(apart, tmp_path):
    """Between the reference's record and the end of its run; with it everyone's ranks."""
    copy = unfinish(shutil.copytree(apart[0], tmp_path / "copy"))
    left = copy / "points" / "reference-same_model" / "adapters"
    left.mkdir(parents=True)
    shutil.copy(next(copy.glob("adapters/*")), left)
    done = command("simulate", "--resume", copy, "--quiet")
    assert done.code == 0, done.err
    assert not left.parent.exists()
    told = command("verify", copy)
    assert (told.code, "no file of the run" in told.out) == (0, False)


def test_what_was_exchanged_before_it_was_sealed_is_made_anew(run, tmp_path):
    """After a crash between the end of a point and its seal nothing that lies there is believed."""
    copy = unfinish(shutil.copytree(run, tmp_path / "copy"), "eps-2-seed-0")
    files = run_files(copy, "eps-2-seed-0")
    honest = {file: load_file(file) for file in (files.adapter, files.popularity)}
    for file, was in honest.items():
        save_file({name: array + 1 for name, array in was.items()}, file)
    done = command("simulate", "--resume", copy, "--quiet")
    assert done.code == 0, done.err
    for file, was in honest.items():
        now = load_file(file)
        assert all((now[name] == array).all() for name, array in was.items())
    assert command("verify", copy).code == 0
