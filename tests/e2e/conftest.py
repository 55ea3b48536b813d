"""One small run that the end-to-end tests share."""

import pytest

from tests.support.command import command, write_settings


@pytest.fixture(scope="session", autouse=True)
def wide_terminal():
    """Tables in one piece."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "300")
        yield


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    return write_settings(tmp_path_factory.mktemp("settings"))


@pytest.fixture(scope="session")
def finished(settings, tiny_bert, tmp_path_factory, own_folders):
    """A complete run, and how its command ended. Not to be altered: copy it."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    done = command("simulate", "--config", settings, "--backbone", tiny_bert, "--out", folder)
    assert done.code == 0, done.err
    return folder, done


@pytest.fixture
def run(finished):
    return finished[0]
