"""Data sets fetched from their publisher into the user's cache, verified before they are unpacked.

The licence of a set allows its use, not its redistribution: nothing fetched enters the project.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shared.errors import DataError
from shared.files import FolderLock

_LARGEST = 1 << 28  # bytes an archive may unpack to; ml-100k needs 16 million
_TIMEOUT = 60.0  # seconds without an answer


@dataclass(frozen=True)
class Archive:
    """A published zip file and the checksum its publisher states."""

    url: str
    md5: str


MOVIELENS_100K = Archive(
    url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
    md5="0e33842e24a9c977be4e0107933c0723",  # ml-100k.zip.md5, beside the archive
)


def fetch_archive(archive: Archive, folder: str, cache: Path) -> Path:
    """Download, verify and unpack; the result appears whole or not at all.

    Of two processes that fetch at once the second waits, and takes what the first one left.

    Parameters
    ----------
    archive : Archive
    folder : str
        The folder inside the archive that is wanted.
    cache : Path
        Where it goes; created if missing.

    Returns
    -------
    Path
        `cache / folder`.

    Raises
    ------
    DataError
        If the publisher cannot be reached, the checksum differs, or the archive holds a path that
        leads outside its folder.
    ConfigError
        If the cache cannot be written.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with FolderLock(cache) as lock:
        if lock.take(wait=True) and (cache / folder).is_dir():
            return cache / folder
        return _fetch(archive, folder, cache)


def _fetch(archive: Archive, folder: str, cache: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        file = Path(temporary) / "archive.zip"
        _download(archive, file)
        _unpack(file, Path(temporary) / "unpacked", archive.url)
        source = Path(temporary) / "unpacked" / folder
        if not source.is_dir():
            raise DataError(f"{archive.url}: holds no folder {folder}; unpack it by hand")
        if (cache / folder).exists():  # left by an earlier, perhaps damaged, fetch
            shutil.rmtree(cache / folder)
        source.rename(cache / folder)
    return cache / folder


def _download(archive: Archive, file: Path) -> None:
    try:
        with urllib.request.urlopen(archive.url, timeout=_TIMEOUT) as reply, file.open("wb") as out:
            shutil.copyfileobj(reply, out)
    except OSError as error:  # URLError and time-outs are among them
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{archive.url}: cannot be fetched ({reason}); download it by hand and set"
            " STARLING_DATA to the folder that holds the unpacked one"
        ) from None
    # MD5 because that is what the publisher states; it is a check of transfer, over HTTPS.
    digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    if digest != archive.md5:
        raise DataError(
            f"{archive.url}: MD5 {digest} instead of the published {archive.md5};"
            " nothing was unpacked, try again later"
        )


def _unpack(file: Path, target: Path, url: str) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            for member in members:
                path = PurePosixPath(member.filename)
                if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
                    raise DataError(f"{url}: {member.filename!r} leads outside; not unpacked")
            if sum(member.file_size for member in members) > _LARGEST:
                raise DataError(f"{url}: unpacks to more than {_LARGEST} bytes; not unpacked")
            archive.extractall(target)
    except zipfile.BadZipFile:
        raise DataError(f"{url}: not a zip file; nothing was unpacked") from None
