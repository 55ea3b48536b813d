"""A checkpoint comes back as it went, and a crash leaves the old one or the new one."""

import numpy as np
import pytest

from server.checkpoint import ServerState, load, save
from shared import files
from shared.errors import ConfigError


def state(round_number=3):
    rng = np.random.default_rng(round_number)
    return ServerState(
        adapter=rng.normal(size=4),
        round_number=round_number,
        average=rng.normal(size=4),
        averaged=2,
        best=rng.normal(size=4),
        best_score=0.25,
        optimizer={"m": rng.normal(size=4), "v": rng.normal(size=4)},
        ledger=(7, "ab" * 32),
        history=[{"round": 1.0, "signal_norm": 0.1 + 0.2}],
    )


def same(a, b):
    for name, value in vars(a).items():
        other = getattr(b, name)
        if isinstance(value, np.ndarray):
            assert value.dtype == other.dtype
            np.testing.assert_array_equal(value, other)
        elif name == "optimizer":
            assert set(value) == set(other)
            for key in value:
                np.testing.assert_array_equal(value[key], other[key])
        else:
            assert value == other, name
    return True


def test_round_trip(tmp_path):
    save(state(), tmp_path / "c")
    assert same(state(), load(tmp_path / "c"))


def test_a_fresh_state_too(tmp_path):
    fresh = ServerState(adapter=np.zeros(3))
    save(fresh, tmp_path / "c")
    assert same(fresh, load(tmp_path / "c"))


def test_none_where_there_is_none(tmp_path):
    assert load(tmp_path / "c") is None


def test_a_crash_while_writing_leaves_the_old_one(tmp_path, monkeypatch):
    file = tmp_path / "c"
    save(state(3), file)

    def crash(handle):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", crash)
        with pytest.raises(KeyboardInterrupt):
            save(state(4), file)
    assert same(state(3), load(file))
    save(state(4), file)
    assert same(state(4), load(file))


def test_it_is_on_disk_before_it_takes_the_place_of_the_old_one(tmp_path, monkeypatch):
    steps = []
    replace = type(tmp_path).replace
    monkeypatch.setattr(files.os, "fsync", lambda handle: steps.append("fsync"))

    def spy(self, target):
        steps.append("replace")
        return replace(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", spy)
    save(state(), tmp_path / "c")
    assert steps == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x00" * 64])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(ConfigError, match="not a checkpoint"):
        load(tmp_path / "c")
