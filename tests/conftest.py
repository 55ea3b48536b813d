"""Temporary homes and caches for every test, and what is expensive to make, made once."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Weights are read one after the other: in threads a warning, which is an error here, loses one.
os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
# One thread in each process, those that tests start included: models are tiny, cores have workers
# of their own (`pytest -n 2`), and a sum must not depend on how many there are.
os.environ["OMP_NUM_THREADS"] = "1"

# How long an example takes, or is looked for, says nothing about what it shows.
settings.register_profile("own", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("own")

ROOT = Path(__file__).parents[1]


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist everything runs in this process
def pytest_xdist_make_scheduler(config, log):
    """A file stays with one worker, which makes its fixtures once; what starts Ray is one file.

    In the order of their names: those that take longest, `e2e` and `integration`, come first.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "ray" if "/ray/" in file else file

    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory):
    """No test reads or writes the keys, caches and configuration of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STARLING_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("STARLING_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("STARLING_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """The folder of a random two-layer BERT."""
    from tests.support.tiny import save_tiny_bert

    return save_tiny_bert(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture(scope="session")
def backbones(tmp_path_factory):
    """The folder of a random two-layer backbone of any family; `gguf-` of one GGUF file."""
    from tests.support.tiny import save_tiny
    from tests.support.weights.ggufs import save_gguf

    saved = {}

    def folder(family):
        if family not in saved:
            place = tmp_path_factory.mktemp(f"tiny-{family}")
            gguf = family.startswith("gguf-")
            save_gguf(place, family[5:], rounded=True) if gguf else save_tiny(place, family)
            saved[family] = place
        return saved[family]

    return folder


@pytest.fixture(scope="session")
def flower():
    """Flower's own processes know who they are; so must a test that makes messages."""
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


@pytest.fixture(scope="session")
def movielens():
    """The folder above `ml-100k`; skips where it is absent."""
    for folder in (os.environ.get("STARLING_DATA"), ROOT.parent / "shared" / "data"):
        if folder and (Path(folder) / "ml-100k" / "u.data").is_file():
            return Path(folder)
    pytest.skip("MovieLens-100K is neither in $STARLING_DATA nor in ../shared/data")
