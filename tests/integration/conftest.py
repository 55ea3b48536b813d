"""A small complete run, made by the calls that a run makes, without training."""

from pathlib import Path

import pytest

from tests.support.privacy.ledgers import BOTH, LOCAL, write_promised_run, write_run


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key store of its own."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("STARLING_HOME", str(folder))
    return folder


@pytest.fixture
def run(tmp_path: Path, home: Path) -> Path:
    """Four points: epsilon 2 and none, seeds 0 and 1."""
    return write_run(tmp_path)


@pytest.fixture
def local(tmp_path: Path, home: Path) -> Path:
    """Epsilon 2 and none, with noise on the devices."""
    return write_promised_run(tmp_path, LOCAL)


@pytest.fixture
def both(tmp_path: Path, home: Path) -> Path:
    """Epsilon 2 and none, with two guarantees where there is noise."""
    return write_promised_run(tmp_path, BOTH)
