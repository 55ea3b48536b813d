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


@pytest.fixture(scope="session")
def apart(tiny_bert, tmp_path_factory, own_folders):
    """One whose noised points train a smaller model, with `same_model`; its settings and command.

    Not to be altered: copy it.
    """
    folder = tmp_path_factory.mktemp("apart")
    file = write_settings(folder, references=("popularity", "same_model"))
    more = "[private.model]\nlora_rank = 1\nitem_rank = 0\n[private.federation]\nrounds = 1\n"
    file.write_text(file.read_text() + more + "cohort = 30\n")
    done = command("simulate", "--config", file, "--backbone", tiny_bert, "--out", folder / "run")
    assert done.code == 0, done.err
    return folder / "run", file, done


@pytest.fixture
def run(finished):
    return finished[0]
