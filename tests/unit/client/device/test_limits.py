"""A device's process takes no more of its machine than its owner allows."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from pydantic import ValidationError

from client.device.limits import Limits, Overtime
from tests.support import ROOT

_HELD = """
import os, threading, torch
from client.device.limits import Limits
torch.set_num_threads(2)
Limits(memory=768).hold()
found = [torch.get_num_threads(), os.getpriority(os.PRIO_PROCESS, 0)]
later = threading.Thread(target=lambda: found.append(os.getpriority(os.PRIO_PROCESS, 0)))
later.start(); later.join()
(torch.ones(64, 64) @ torch.ones(64, 64)).sum()
try:
    torch.ones(1 << 28)  # a GiB
except RuntimeError as error:
    found.append("allocate" in str(error))
Limits(nice=0).hold()  # never back to the front
print(*found, os.getpriority(os.PRIO_PROCESS, 0))
"""


def test_a_process_is_held_to_them():
    words = ["nice", "-n", "0", sys.executable, "-c", _HELD]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    nice = max(10, os.getpriority(os.PRIO_PROCESS, 0))
    assert done.stdout.split() == ["1", *map(str, [nice, nice]), "True", str(nice)], done.stderr


def test_an_answer_that_takes_too_long_ends(monkeypatch):
    before = signal.getsignal(signal.SIGALRM)
    monkeypatch.setattr(signal, "setitimer", quick(signal.setitimer))
    with pytest.raises(Overtime):
        guarded_sleep()
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with Limits(seconds=60).timed():
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@Limits(seconds=60).timed()
def guarded_sleep():
    with contextlib.suppress(Exception):  # as what guards an answer
        time.sleep(50)


def quick(timer):
    return lambda which, seconds: timer(which, seconds / 1000)


@pytest.mark.parametrize(
    "wrong", [{"threads": 0}, {"nice": -1}, {"nice": 20}, {"memory": 0}, {"seconds": 0}]
)
def test_what_is_no_limit_is_refused(wrong):
    with pytest.raises(ValidationError):
        Limits(**wrong)
