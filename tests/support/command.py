"""The command as a person runs it, in this process or in one of its own."""

import contextlib
import io
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import starling

SETTINGS = """
[data]
spec = "world"
users = 40
negatives = 30
[model]
layers = 1
max_length = 12
lora_rank = 2
item_rank = 2
projection_rank = 4
[train]
max_windows = 2
[federation]
rounds = {rounds}
cohort = 12
evaluate_every = 1
[sweep]
epsilons = [2.0, inf]
references = [{references}]
[references]
centralized_epochs = 1
local_steps = 1
"""
REFERENCES = ("popularity", "zero_shot", "local_only", "centralized")


def write_settings(folder: Path, rounds: int = 2, references=REFERENCES) -> Path:
    file = folder / "settings.toml"
    names = ", ".join(f'"{name}"' for name in references)
    file.write_text(SETTINGS.format(rounds=rounds, references=names))
    return file


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of an error; anything else fails the test."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


def command(*arguments) -> Done:
    """Run `starling ...` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            starling.main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stop:
            code = stop.code
    return Done(code, out.getvalue(), err.getvalue())


def script() -> str:
    """The installed `starling`."""
    return str(Path(sys.executable).with_name("starling"))


def start(*arguments) -> subprocess.Popen:
    """Start `starling ...` in a process of its own."""
    return subprocess.Popen(
        [script(), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def unfinish(folder: Path, *points: str) -> Path:
    """A finished run as a crash before its last file leaves it, or before points were sealed."""
    from shared.privacy.ledger.seal import digests, write_sealed
    from shared.run_files import point_name, run_files

    found = results(folder) | {"complete": False}
    found["points"] = [
        at
        for at in found["points"]
        if point_name(float(at["epsilon_target"]), at["seed"]) not in points
    ]
    for each in points:
        run_files(folder, each).sealed.unlink()
    # What else was finished is read again, and sealed again with it.
    write_sealed(folder / "results.json", found, digests(folder, [folder / "config.toml"]))
    return folder


def wait_for(found, process: subprocess.Popen) -> None:
    """Wait until something is found or the process has ended; how long is pytest's to limit."""
    while not found():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def stop_when(process: subprocess.Popen, ledger: Path, lines: int, by: int) -> tuple[str, str]:
    """Send a signal once a ledger has so many lines; what the process wrote until its end."""
    with ended_after(process):
        wait_for(lambda: ledger.is_file() and ledger.read_bytes().count(b"\n") >= lines, process)
        process.send_signal(by)
        return process.communicate()


def finish(process: subprocess.Popen) -> tuple[str, str]:
    """What a process wrote until its end."""
    with ended_after(process):
        return process.communicate()


@contextlib.contextmanager
def ended_after(process: subprocess.Popen):
    """Leave no process behind, whatever goes wrong."""
    try:
        yield
    finally:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdout, process.stderr)):
            pipe.close()
