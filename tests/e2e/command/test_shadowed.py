"""Somebody else's module under a name of ours: what needs ours says so, the rest works."""

import os
import subprocess
import sys

import pytest

from tests.support import ROOT

THEIRS = "import sys\nsys.stderr.write('theirs ran')\n"


@pytest.fixture(params=["server", "client"])
def shadowed(request, tmp_path):
    (tmp_path / f"{request.param}.py").write_text(THEIRS)

    def run(*words):
        path = os.pathsep.join([str(tmp_path), str(ROOT)])
        return subprocess.run(
            [sys.executable, "-m", "starling", *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_what_needs_no_other_room_works_and_runs_nothing_of_theirs(shadowed):
    for words in (["--help"], ["policy", "--help"], ["data", "ls", "--json"]):
        done = shadowed(*words)
        assert (done.returncode, done.stderr) == (0, ""), words


def test_what_needs_it_says_what_hides_it(shadowed):
    done = shadowed("simulate", "--users", "60", "--out", "run")
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert "another package of that name hides ours; see starling doctor" in last
