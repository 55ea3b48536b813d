"""Files appear whole or not at all, and a folder has one process at a time."""

import errno
import os

import pytest

from shared.errors import ConfigError
from shared.files import LOCK, FolderLock, read_record, write_atomically


def test_a_failed_write_leaves_the_old_content_and_names_the_file(tmp_path):
    file = tmp_path / "file"
    write_atomically(file, "old")
    (tmp_path / "file.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(file, "new")
    assert caught.value.filename == str(file)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "old"


def test_a_folder_is_one_holders_at_a_time(tmp_path):
    with FolderLock(tmp_path) as first:
        assert first.take() is False
        assert first.take() is False  # it is ours already
        with (
            FolderLock(tmp_path) as second,
            pytest.raises(ConfigError, match="another process is at work"),
        ):
            second.take()
        with FolderLock(tmp_path) as third, pytest.raises(ConfigError):
            third.take()  # the refusal of the second did not end the lock of the first
    with FolderLock(tmp_path) as fourth:
        fourth.take()


def test_a_folder_that_is_not_there_is_refused_and_not_made(tmp_path):
    folder = tmp_path / "none"
    with FolderLock(folder) as lock, pytest.raises(ConfigError, match="no such folder"):
        lock.take()
    assert not folder.exists()


@pytest.mark.parametrize("wait", [False, True])
def test_where_the_system_has_no_locks_a_folder_is_refused(wait, tmp_path, monkeypatch):
    """A file alone would outlive who made it: then everybody would wait for nobody."""
    (tmp_path / LOCK).touch()  # left by an earlier holder, as always

    def none(*arguments):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", none)
    with FolderLock(tmp_path) as lock, pytest.raises(ConfigError, match="cannot be written"):
        lock.take(wait=wait)


@pytest.mark.parametrize(
    ("content", "word"),
    [("{", "not whole JSON"), ("[]", "no JSON object"), ("{}", "a is missing"), ("\xff", "JSON")],
)
def test_a_damaged_record_is_refused(content, word, tmp_path):
    file = tmp_path / "record.json"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=word):
        read_record(file, ("a",))
