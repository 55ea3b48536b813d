"""One SQLite file that outlives crashes, full disks and its own damage.

A change is on disk twice before whoever asked for it is told: in the file, and in a copy beside it
that was checked as it was made. Where the file is found damaged, half-written or gone the copy
takes its place; what was damaged is kept aside, for its owner.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from shared.errors import DataError
from shared.files import read_file, sync_folder, write_atomically

_APPLICATION = 0x53544152  # in the file's head: whose it is
FORGOTTEN = "forgotten.json"  # a mark: from then on nothing is written
_PATIENCE = 30.0  # seconds, for another process that writes
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_WORDS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and do it again",
    sqlite3.SQLITE_IOERR: "the disk does not take it, it may be full; free some space and do it "
    "again",
    sqlite3.SQLITE_BUSY: "another process keeps it busy; end that one, or wait for it",
    sqlite3.SQLITE_READONLY: "it cannot be written; give its owner the right to",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; give its owner the right to",
}
_LOG = logging.getLogger("starling")


class Database:
    """A file, and its copy.

    Parameters
    ----------
    file : Path
        In a folder that exists; made if there is none.
    steps : sequence of str
        What makes each version of the tables out of the one before, as SQL: their number is the
        version.

    Raises
    ------
    DataError
        If it cannot be used, is another program's, or of a later version.
    """

    def __init__(self, file: Path, steps: Sequence[str]) -> None:
        self.file = file
        self.copy = file.with_suffix(f".copy{file.suffix}")
        self._steps = steps
        if not self._whole():
            self._restore()
        self._migrate()

    def aside(self) -> list[Path]:
        """What was found damaged, and kept."""
        return sorted(self.file.parent.glob(f"{self.file.name}.damaged-*"))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read."""
        with self._connected() as database:
            yield database

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are on disk, here and in the copy, or undone when it ends."""
        with self._alone(), self._connected() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise
            self._keep(database)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writes at a time, until its copy is made: an older one never follows a newer."""
        lock = FileLock(self.file.with_suffix(".lock"), mode=0o600, fallback_to_soft=False)
        try:
            with _told(self.file), lock.acquire(timeout=_PATIENCE):
                if os.path.lexists(self.file.with_name(FORGOTTEN)):
                    raise DataError(f"{self.file}: its person was forgotten; nothing is kept")
                yield
        except Timeout:
            raise DataError(f"{self.file}: {_WORDS[sqlite3.SQLITE_BUSY]}") from None

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with _told(self.file):
            # Closing a file that SQLite holds open would let go of its locks: made, never opened.
            if not self.file.exists():
                os.close(os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600))
            database = sqlite3.connect(self.file, timeout=_PATIENCE, isolation_level=None)
            try:
                database.execute("PRAGMA synchronous = EXTRA")
                database.execute("PRAGMA secure_delete = ON")
                yield database
            finally:
                database.close()

    def _keep(self, database: sqlite3.Connection) -> None:
        """Copy what is on disk now, and let the copy count only if it is whole."""
        part = self.copy.with_name(f"{self.copy.name}.part")
        with _told(self.copy):
            try:
                part.unlink(missing_ok=True)
                os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
                copy = sqlite3.connect(part, isolation_level=None)
                try:
                    database.backup(copy)
                    whole = _is_whole(copy)
                finally:
                    copy.close()
                if not whole:
                    raise DataError(f"{self.file}: is damaged; start again, its copy is restored")
                with part.open("rb") as stream:
                    os.fsync(stream.fileno())
                part.replace(self.copy)
                sync_folder(self.copy.parent)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def _whole(self) -> bool:
        """Whether the file holds what was put in: a file that is gone holds nothing of it."""
        with _told(self.file):
            try:
                if not self.file.stat().st_size:
                    return not self.copy.exists()
                if self.file.stat().st_mode & 0o077:
                    self.file.chmod(0o600)
            except FileNotFoundError:
                return not self.copy.exists()
            try:
                with self._connected() as database:
                    return _is_whole(database)
            except _DamagedError:
                return False

    def _restore(self) -> None:
        """Let the copy take the file's place; of several processes that find damage one does."""
        with self._alone():
            if self._whole():
                return
            kept = self._put_aside()
            told = f"{self.file}: was damaged{kept}"
            with _told(self.file):
                if self.copy.exists() and Database._is_good(self.copy):
                    write_atomically(self.file, read_file(self.copy))
                    self.file.chmod(0o600)
                    _LOG.warning("%s; restored from its last good copy", told)
                else:
                    _LOG.warning("%s; no good copy of it is here, so it begins empty", told)

    def _put_aside(self) -> str:
        """Keep a damaged file, its journal first: no journal may meet another file than its own."""
        number = len(self.aside()) + 1
        kept = self.file.with_name(f"{self.file.name}.damaged-{number}")
        journal = self.file.with_name(f"{self.file.name}-journal")
        for old, new in ((journal, kept.with_name(f"{kept.name}-journal")), (self.file, kept)):
            if old.exists():
                old.replace(new)
        sync_folder(self.file.parent)
        return f", and is kept as {kept.name}" if kept.exists() else " or taken away"

    @staticmethod
    def _is_good(file: Path) -> bool:
        database = sqlite3.connect(file, timeout=_PATIENCE)
        try:
            return _is_whole(database)
        except sqlite3.DatabaseError:
            return False
        finally:
            database.close()

    def _migrate(self) -> None:
        newest = len(self._steps)
        with self.reading() as database:
            version, owner = _number(database, "user_version"), _number(database, "application_id")
        if owner not in (0, _APPLICATION) or (not owner and version):
            raise DataError(f"{self.file}: is another program's; move it away")
        if version > newest:
            raise DataError(
                f"{self.file}: written by a later starling (version {version} of its tables, this "
                f"one knows {newest}); update this installation"
            )
        if version == newest:
            return
        with self.writing() as database:
            if _number(database, "user_version") == version:  # else another process was first
                for step in self._steps[version:]:
                    for statement in filter(str.strip, step.split(";")):
                        database.execute(statement)
                database.execute(f"PRAGMA application_id = {_APPLICATION}")
                database.execute(f"PRAGMA user_version = {newest}")


class _DamagedError(DataError):
    """What SQLite finds to be no file of its own, or a broken one."""


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Errors of the database and the disk, in a line that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = (error.sqlite_errorcode & 0xFF) if hasattr(error, "sqlite_errorcode") else 0
        if code in _DAMAGED:
            raise _DamagedError(f"{file}: is damaged; start again, its copy is restored") from None
        raise DataError(f"{file}: {_WORDS.get(code, f'cannot be used ({error})')}") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be used ({error.strerror})") from None


def _is_whole(database: sqlite3.Connection) -> bool:
    found = database.execute("PRAGMA integrity_check(1)").fetchone()
    return found is not None and found[0] == "ok"


def _number(database: sqlite3.Connection, pragma: str) -> int:
    (found,) = database.execute(f"PRAGMA {pragma}").fetchone()
    return int(found)
