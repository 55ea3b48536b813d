"""What is no file on disk, wherever a file is named or kept: refused at once, never waited for."""

import os
import shutil
import threading

import pytest

from tests.support.bad.lab import ADAPTER
from tests.support.command import command, unfinish


@pytest.fixture
def pipe():
    """Makes a pipe that someone writes nothing into: who waits for it goes on, and is seen."""
    made = []

    def make(path):
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)

        def write():
            for _ in range(9):
                os.close(os.open(path, os.O_WRONLY))

        writer = threading.Thread(target=write)
        writer.start()
        made.append((path, writer))
        return path

    yield make
    for path, writer in made:
        while writer.is_alive():
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


SOME = ("--users", 40, "--cohort", 12)
TYPED = {
    "simulate --config": lambda at, run: ("simulate", "--config", at, "--out", at.with_name("new")),
    "data inspect --config": lambda at, run: ("data", "inspect", "world", "--config", at),
    "data world --config": lambda at, run: (
        "data",
        "world",
        "--config",
        at,
        "--out",
        at.with_name("new"),
    ),
    "policy make --config": lambda at, run: (
        *("policy", "make", "--config", at, "--epsilon", 2, "--adapter", run / ADAPTER),
        *("--users", 40, "--out", at.with_name("new")),
    ),
    "policy make --adapter": lambda at, run: (
        *("policy", "make", "--config", run / "config.toml", "--epsilon", 2, "--adapter", at),
        *("--users", 40, "--out", at.with_name("new")),
    ),
    "policy show": lambda at, run: ("policy", "show", at),
    "policy show ADAPTER": lambda at, run: ("policy", "show", at),
    "policy check": lambda at, run: ("policy", "check", at, "--operator", "0" * 64),
    "policy check --operator": lambda at, run: ("policy", "check", at, "--operator", at),
    "policy check --caps": lambda at, run: (
        *("policy", "check", run / "points/eps-2-seed-0.policy.json", "--operator", "0" * 64),
        *("--caps", at),
    ),
    "evaluate --adapter": lambda at, run: ("evaluate", "--data", "world", "--adapter", at),
    "recommend --adapter": lambda at, run: (
        *("recommend", "--data", "world", "--adapter", at, "--user", "u1"),
    ),
    "verify --key": lambda at, run: ("verify", run, "--key", at),
    "simulate --data": lambda at, run: ("simulate", "--data", at, "--out", at.with_name("new")),
}


@pytest.mark.parametrize("typed", TYPED)
def test_a_pipe_that_is_typed_is_refused(typed, pipe, run, tmp_path):
    suffix = ".safetensors" if "adapter" in typed.lower() else ".csv" if "data" in typed else ""
    at = pipe(tmp_path / f"pipe{suffix}")
    (tmp_path / "items.csv").write_text("item,text\na,A\nb,B\n")
    done = command(*TYPED[typed](at, run))
    assert done.code == 2
    assert not at.with_name("new").exists()
    if typed in ("verify --key", "policy check --operator"):  # a file is one way to say a key
        assert "expected the operator's public key" in done.error or "named pipe" in done.error
    else:
        assert f"{at}: " in done.error
        assert "is a named pipe; write its content into a file and give that" in done.error


def test_a_device_that_is_typed_is_refused(tmp_path):
    """It may have no end; this one has."""
    device, link = "/dev/null", tmp_path / "own.safetensors"
    link.symlink_to(device)
    for words in (
        ("simulate", "--config", device, "--out", tmp_path / "out"),
        ("policy", "show", device),
        ("policy", "show", link),
        ("evaluate", "--data", "world", "--adapter", link),
    ):
        done = command(*words)
        assert done.code == 2, words
        assert "is a device; write its content into a file" in done.error, words


KEPT = (
    *("config.toml", "results.json", "ledger-eps-2-seed-0.jsonl", "points/data.json"),
    *("points/eps-2-seed-0.checkpoint", "points/eps-2-seed-0.initial.safetensors"),
    *("points/eps-2-seed-0.sealed.json", "points/reference-popularity.json"),
    *("points/eps-2-seed-0.environments.json", ADAPTER),
)


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("begun", [True, False], ids=["unfinished", "finished"])
def test_a_pipe_in_a_run_is_refused(begun, name, pipe, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    if begun:
        unfinish(copy)
    at = pipe(copy / name)
    done = command("simulate", "--resume", copy, "--quiet")
    assert done.code == 2, done.err
    if name == "config.toml":
        assert "holds no run (no config.toml)" in done.error
    else:
        assert f"{at}: is a named pipe" in done.error or f"{at}: cannot be read" in done.error
    if not begun and not name.startswith("points"):  # which are not handed on
        assert command("verify", copy).code in (2, 3)


def test_a_pipe_as_the_key_is_refused(pipe, tmp_path, monkeypatch):
    monkeypatch.setenv("STARLING_HOME", str(tmp_path))
    at = pipe(tmp_path / "keys" / "ledger.pem")
    at.chmod(0o600)
    done = command("policy", "key")
    assert (done.code, f"{at}: signing key: is a named pipe" in done.error) == (2, True)


@pytest.mark.parametrize("name", ["agreement.json", "clock.json", "participation.jsonl"])
def test_a_pipe_in_a_device_s_folder_is_refused(name, pipe, run, tmp_path):
    policy = run / "points/eps-2-seed-0.policy.json"
    at = pipe(tmp_path / "state" / name)
    if name != "agreement.json":
        shutil.copy(policy, at.with_name("agreement.json"))
    operator = command("policy", "key").out.strip()
    check = ("policy", "check", policy, "--operator", operator, "--state", at.parent)
    for words in (check, ("policy", "spent", at.parent)):
        done = command(*words)
        if name == "clock.json" and words[1] == "spent":  # which does not ask it
            continue
        assert "is a named pipe" in done.err + done.out, words
        assert done.code in (2, 3), words


def test_a_pipe_among_weights_is_refused(pipe, tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "bert")
    at = pipe(folder / "model.safetensors")
    done = command("simulate", "--backbone", folder, *SOME, "--out", tmp_path / "out")
    assert (done.code, f"{at}: is a named pipe" in done.error) == (2, True), done.err
