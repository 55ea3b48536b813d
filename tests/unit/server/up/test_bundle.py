"""What is delivered to server and nodes, one module; and what is left of a killed server."""

import io
import signal
import subprocess
import sys
import zipfile

import pytest
from flwr.cli.build import build_fab_from_disk

from server.up.flower import bundle, end_left_behind
from server.up.folder import ServerFolder
from tests.support import ROOT
from tests.support.running.superlink import unpack

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern")  # within Flower

INSIDE = {"apps.py", "pyproject.toml", ".info/CONTENT"}


def names(content):
    return set(zipfile.ZipFile(io.BytesIO(content)).namelist())


def test_flower_bundles_one_module_of_a_checkout(tmp_path):
    folder = unpack(tmp_path / "app")
    for room in ("client", "shared"):
        (folder / room).mkdir()
        (folder / room / "agreement.py").write_text("edited = True\n")
    assert names(build_fab_from_disk(folder)) == INSIDE


def test_a_server_delivers_the_same(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    content, digest = bundle()
    assert names(content) == INSIDE
    assert zipfile.ZipFile(io.BytesIO(content)).read("apps.py") == (ROOT / "apps.py").read_bytes()
    assert bundle()[1] == digest


def test_what_a_killed_server_left_behind_is_ended_and_nothing_else(tmp_path):
    """A ServerApp that outlives its parents would hold the run's folder."""
    folder, other = ServerFolder(tmp_path / "server"), tmp_path / "other" / "ca.pem"
    program = tmp_path / "flwr-serverapp"
    program.write_text("import time\ntime.sleep(60)\n")
    ours, theirs = (
        subprocess.Popen([sys.executable, program, "--root-certificates", told])
        for told in (folder.authority, other)
    )
    try:
        end_left_behind(folder)
        assert ours.wait(10) == -signal.SIGKILL
        assert theirs.poll() is None
    finally:
        theirs.kill()
        theirs.wait()
