"""Processes that a command started, its children's children too: by a mark they inherited."""

import contextlib
import os
import time
from pathlib import Path

import pytest


@pytest.fixture
def marked(monkeypatch, tmp_path):
    """A mark in the environment of every process that the test starts."""
    mark = f"STARLING_TEST_MARK={tmp_path.name}-{os.getpid()}"
    monkeypatch.setenv(*mark.split("="))
    return mark


def started_by(mark):
    """Processes that inherited a mark."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def wait_until_gone(mark):
    """Until the last of them has ended; if one never does, pytest's own limit fails the test."""
    while started_by(mark):
        time.sleep(0.2)
