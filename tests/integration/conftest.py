"""A small complete run, made by the calls that a run makes, without training."""

from pathlib import Path

import pytest

from tests.support.ledgers import write_run


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
