"""A release that happened is on the ledger, whenever the process is killed; at most one more is."""

import json
import subprocess
import sys

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """By fault, every life of a process that releases until it is killed."""
    words = ["-m", "tests.support.crashes", str(tmp_path_factory.mktemp("crashes")), "5"]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        life = json.loads(line)
        found.setdefault(life["fault"], []).append(life)
    return found


def under_counted(life):
    """Whether something left that the ledger does not show, or an older entry is gone."""
    return life["lost"] or bool(set(life["released"]) - set(life["recorded"]))


def over_counted(life):
    """How many entries have no release."""
    return len(life["recorded"]) - len(life["released"])


def test_no_kill_makes_a_ledger_say_too_little_or_too_much(lives):
    found = lives[""]
    assert len(found) == 100
    assert all(life["killed"] for life in found)  # none ended by itself, none by an error
    assert not [life for life in found if under_counted(life)]
    assert {over_counted(life) for life in found} <= {0, 1}
    # It would show nothing if kills came only between releases, or before the first one.
    assert any(map(over_counted, found))
    for kind in ("server", "device"):
        assert sum(len(life["released"]) for life in found if life["kind"] == kind) >= 10
    assert any(not life["new_ledger"] and life["released"] for life in found)  # recovered, went on


@pytest.mark.parametrize("fault", ["release first", "buffered"])
def test_a_release_that_is_not_yet_recorded_is_seen(fault, lives):
    assert any(map(under_counted, lives[fault]))


def test_a_release_recorded_twice_is_seen(lives):
    assert any(over_counted(life) > 1 for life in lives["twice"])
