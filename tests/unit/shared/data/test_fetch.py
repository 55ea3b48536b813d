"""Fetching: the checksum comes before unpacking, and nothing leaves its folder."""

import hashlib
import io
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.data.fetch import Archive, fetch_archive
from shared.errors import DataError
from shared.files import LOCK, FolderLock


def content(cache: Path) -> list[str]:
    return sorted(entry.name for entry in cache.iterdir() if entry.name != LOCK)


def zipped(path: Path, members: dict[str, bytes]) -> Archive:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    path.write_bytes(content.getvalue())
    return Archive(path.as_uri(), hashlib.md5(path.read_bytes()).hexdigest())


def test_a_good_archive_is_unpacked_and_replaces_an_older_one(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"ml/u.data": b"new", "ml/u.item": b"items"})
    cache = tmp_path / "cache"
    (cache / "ml").mkdir(parents=True)
    (cache / "ml" / "leftover").write_bytes(b"")
    folder = fetch_archive(archive, "ml", cache)
    assert folder == cache / "ml"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        "u.data": b"new",
        "u.item": b"items",
    }
    assert content(cache) == ["ml"]  # nothing temporary stays


def test_another_checksum_is_refused_before_unpacking(tmp_path: Path) -> None:
    good = zipped(tmp_path / "a.zip", {"ml/u.data": b"x"})
    with pytest.raises(DataError, match=f"MD5 {good.md5} instead of the published 0000"):
        fetch_archive(Archive(good.url, "0000"), "ml", tmp_path / "cache")
    assert content(tmp_path / "cache") == []


@pytest.mark.parametrize("name", ["../evil", "ml/../../evil", "/evil", "ml\\..\\evil"])
def test_paths_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "a.zip", {"ml/u.data": b"x", name: b"evil"})
    with pytest.raises(DataError, match="leads outside"):
        fetch_archive(archive, "ml", tmp_path / "cache")
    assert not list(tmp_path.rglob("evil*"))
    assert content(tmp_path / "cache") == []


def test_what_is_no_archive_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(b"<html>")
    page = Archive((tmp_path / "page").as_uri(), hashlib.md5(b"<html>").hexdigest())
    with pytest.raises(DataError, match="not a zip file"):
        fetch_archive(page, "ml", tmp_path / "cache")
    with pytest.raises(DataError, match=r"cannot be fetched.*STARLING_DATA"):
        fetch_archive(Archive((tmp_path / "none").as_uri(), ""), "ml", tmp_path / "cache")
    other = zipped(tmp_path / "b.zip", {"other/u.data": b"x"})
    with pytest.raises(DataError, match="holds no folder ml"):
        fetch_archive(other, "ml", tmp_path / "cache")


def test_of_two_that_fetch_at_once_the_second_takes_what_the_first_left(tmp_path: Path) -> None:
    """Replacing the folder under the first one's feet would break what it is reading."""
    archive = zipped(tmp_path / "a.zip", {"ml/u.data": b"x"})
    cache = tmp_path / "cache"
    cache.mkdir()
    with ThreadPoolExecutor() as pool:
        with FolderLock(cache) as first:
            first.take()
            second = pool.submit(fetch_archive, archive, "ml", cache)
            time.sleep(0.2)
            assert not second.done()
            (cache / "ml").mkdir()
            (cache / "ml" / "u.data").write_bytes(b"of the first")
        assert second.result(timeout=300) == cache / "ml"
    assert (cache / "ml" / "u.data").read_bytes() == b"of the first"
