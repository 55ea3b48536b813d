"""Files that a crash leaves whole, and folders that one process at a time works in."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from shared.errors import ConfigError

LOCK = ".lock"
RESTORE = "restore it from a copy, or start a new run with another --out"


_SPECIAL = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotAFileError(OSError):
    """A pipe would be waited for and is read only once; a device may have no end."""

    def __str__(self) -> str:
        return str(self.strerror)


def cache_folder() -> Path:
    """`$STARLING_CACHE`, or the user's cache folder."""
    named = os.environ.get("STARLING_CACHE")
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("starling"))


def check_file(file: Path) -> None:
    """Refuse at once what is no file on disk and no folder: opening it may wait for ever.

    Raises
    ------
    OSError
        Naming it, for a pipe, a socket or a device, and for what cannot be looked at.
    """
    mode = file.stat().st_mode
    for kind, name in _SPECIAL:
        if kind(mode):
            told = f"is {name}; write its content into a file and give that"
            raise NotAFileError(errno.EINVAL, told, str(file))


def read_file(file: Path) -> bytes:
    """The bytes of a file; errors as for `check_file`, and those of reading it."""
    check_file(file)
    return file.read_bytes()


def write_atomically(file: Path, content: bytes | str) -> None:
    """Replace a file's content; when this returns it is on disk.

    A crash leaves the old content or the new one, never a part; so does a full disk.

    Parameters
    ----------
    file : Path
        Its folder must exist.
    content : bytes or str
        Text is written as UTF-8.

    Raises
    ------
    OSError
        Naming the file, if it cannot be written.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from None  # a write names no file
    part.replace(file)
    sync_folder(file.parent)  # the new name itself


def write_once(file: Path, content: bytes | str) -> bool:
    """As `write_atomically`, where there is no such name; whether it did.

    Of several that write at the same moment one does: a rename would replace what another just
    wrote.
    """
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    write_atomically(draft, content)
    try:
        os.link(draft, file)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    sync_folder(file.parent)
    return True


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it; when this returns their names are on disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Make the names of new or renamed files in a folder last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_record(file: Path, required: Iterable[str]) -> dict[str, Any]:
    """An object that an interrupted run left as JSON.

    Parameters
    ----------
    file : Path
    required : iterable of str
        Names that the object must have.

    Raises
    ------
    ConfigError
        If the file cannot be read, is no JSON object or lacks a name: it was damaged since, as
        `write_atomically` leaves no part of a file.
    """
    try:
        record = json.loads(read_file(file))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{file}: damaged, not whole JSON; {RESTORE}") from None
    if not isinstance(record, dict):
        raise ConfigError(f"{file}: damaged, no JSON object; {RESTORE}")
    missing = [name for name in required if name not in record]
    if missing:
        raise ConfigError(f"{file}: damaged, {missing[0]} is missing; {RESTORE}")
    found: dict[str, Any] = record
    return found


class FolderLock:
    """Keeps a second process out of a folder; used as a context manager.

    The lock is the operating system's (`filelock`) on a file that stays behind: it ends with the
    process that holds it, however that ends.

    Parameters
    ----------
    folder : Path
        Must exist when the lock is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Where the system has no such lock that is an error: a file alone outlives its process.
        self._lock = FileLock(folder / LOCK, fallback_to_soft=False)

    def __enter__(self) -> Self:
        return self

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._lock.is_locked

    def take(self, *, wait: bool = False) -> bool:
        """Take the lock; nothing happens if this object holds it already.

        Parameters
        ----------
        wait : bool
            Wait for another process to end instead of refusing.

        Returns
        -------
        bool
            Whether another process had to be waited for.

        Raises
        ------
        ConfigError
            If another process holds it, or the file cannot be written.
        """
        if self._lock.is_locked:
            return False
        if not self._folder.is_dir():
            raise ConfigError(f"{self._folder}: there is no such folder")
        try:
            self._lock.acquire(blocking=False)
            return False
        except Timeout:
            if wait:
                self._lock.acquire()
                return True
            raise ConfigError(
                f"{self._folder}: another process is at work in this folder; wait for it to end, "
                "or stop it"
            ) from None
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(f"{self._folder / LOCK}: cannot be written ({why})") from None

    def __exit__(self, *raised: object) -> None:
        self._lock.release()
