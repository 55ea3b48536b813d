"""On Windows the command says at once that it does not work there, whatever is asked."""

import subprocess
import sys

import pytest

import starling
from tests.support import ROOT
from tests.support.absent import hiding
from tests.support.command import command

# What Windows lacks: modules, and names in modules that are there.
SIGNALS = ("SIGHUP", "SIGQUIT", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGALRM")
LACKS = "import signal, socket\ndel socket.AF_UNIX, socket.SO_PEERCRED\n" + "".join(
    f"del signal.{name}\n" for name in SIGNALS
)


@pytest.mark.parametrize("words", ["", "--help", "doctor", "simulate --preset demo", "client page"])
def test_one_line_and_exit_code_2(words, monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    done = command(*words.split())
    assert (done.code, done.out) == (2, "")
    assert done.error == starling.WINDOWS
    assert "WSL" in done.error


def test_it_comes_that_far_without_what_windows_lacks():
    """No module before that line, nor any name in one, is of POSIX alone."""
    lacking = hiding(["fcntl", "resource", "pwd", "grp", "termios", "pty"]) + LACKS
    code = "sys.platform = 'win32'\nimport starling\nstarling.main()"
    done = subprocess.run(
        [sys.executable, "-c", f"{lacking}{code}", "simulate"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{starling.WINDOWS}\n"
