"""What is delivered to server and nodes: one module, by Flower's own rules and by ours."""

import io
import zipfile

import pytest
from flwr.cli.build import build_fab_from_disk

from server.up.flower import bundle
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
