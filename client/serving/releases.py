"""What an operator published, on a device: checked before it counts, and undone by its owner alone.

`releases/N/` holds version N as `shared.published` describes it, `releases/current` the number of
the one that counts. A release is written beside the others and takes its name when it is whole, so
a crash leaves the old one or the new one.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from shared.config import settings_hash
from shared.errors import ConfigError, DataError, ModelError, PrivacyError
from shared.files import make_folder, read_file, sync_folder, write_atomically
from shared.published import (
    ADAPTER,
    CATALOGUE,
    MANIFEST,
    Manifest,
    catalogue_of,
    check_files,
    read_manifest,
)

FOLDER, CURRENT = "releases", "current"
MOST_BYTES = 1 << 28
"""Of one file of a release."""
_MOST_WORDS = 1 << 16  # bytes of a manifest
_KEPT = 3  # releases, the current one among them


@dataclass(frozen=True)
class Release:
    """One that is installed.

    Attributes
    ----------
    version : int
    manifest : Manifest
    folder : Path
        Where its adapter and its catalogue lie.
    """

    version: int
    manifest: Manifest
    folder: Path


class Releases:
    """Those of one device.

    Parameters
    ----------
    state : Path
        The device's folder.
    operator : str
        The public key whose releases count.
    """

    def __init__(self, state: Path, operator: str) -> None:
        self._path = state / FOLDER
        self._operator = operator

    def current(self) -> Release | None:
        """The one that counts; None before the first.

        Raises
        ------
        DataError, PrivacyError
            If it was damaged or altered since.
        """
        version = self._pointer()
        return None if version is None else self._open(version)

    def install(self, source: Path) -> Release:
        """Check a release and let it count.

        Parameters
        ----------
        source : Path
            A folder with the three files of a release; nothing of it is used but by their names.

        Raises
        ------
        PrivacyError
            If the operator did not sign it, a file is another than was signed, or it is not later
            than the current one.
        DataError, ModelError
            If its catalogue is none, or no model here takes its adapter.
        ConfigError
            If it cannot be read, or kept.
        """
        manifest = read_manifest(_read(source / MANIFEST, _MOST_WORDS), self._operator)
        if odd := sorted(set(manifest.files) ^ {ADAPTER, CATALOGUE}):
            raise PrivacyError(
                f"{source / MANIFEST}: {odd[0]!r}: a release has one adapter and one "
                "catalogue, and nothing else"
            )
        version, first = manifest.version, self._first()
        if version < first:
            raise PrivacyError(
                f"{source}: release {version}: this device takes {first} or later, and goes back "
                "only by starling client rollback"
            )
        draft = self._path / f".{version}"
        try:
            self._clear(draft)
            make_folder(draft)
            for name, most in (
                (MANIFEST, _MOST_WORDS),
                (ADAPTER, MOST_BYTES),
                (CATALOGUE, MOST_BYTES),
            ):
                write_atomically(draft / name, _read(source / name, most))
            _check(draft, self._operator, manifest)
            whole = self._path / str(version)
            self._clear(whole)  # one that the owner went back from, or a crash left
            draft.rename(whole)
            sync_folder(self._path)
            self._point(version)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be written ({error.strerror})") from None
        finally:
            self._clear(draft)
            with suppress(OSError):  # of a refused first one nothing is left
                self._path.rmdir()
        self._prune(version)
        return self._open(version)

    def roll_back(self) -> Release:
        """Let the release before the current one count again, until a later one is installed.

        Raises
        ------
        ConfigError
            If there is none.
        DataError, PrivacyError
            If it was damaged or altered since.
        """
        try:
            last = self._pointer()
        except DataError:  # whatever is here may have been the current one
            last = 1 + max(self._versions(), default=0)
        before = [each for each in self._versions() if last and each < last]
        if not before:
            raise ConfigError(f"{self._path}: no earlier release is kept here")
        release = self._open(before[-1])
        self._point(release.version)
        return release

    def _pointer(self) -> int | None:
        file = self._path / CURRENT
        try:
            word = read_file(file).decode("ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: cannot be read ({error}); {_ANEW}") from None
        if not word.isdecimal() or len(word) > 18:
            raise DataError(f"{file}: {word[:40]!r}: expected the number of a release; {_ANEW}")
        return int(word)

    def _first(self) -> int:
        """The earliest version that may be installed: a damaged one may be brought again."""
        try:
            last = self._pointer()
        except DataError:
            return max(self._versions(), default=0)
        if last is None:  # with releases there the pointer was lost: none before them
            return max(self._versions(), default=1)
        try:
            self._open(last)
        except (DataError, PrivacyError):
            return last
        return last + 1

    def _open(self, version: int) -> Release:
        folder = self._path / str(version)
        try:
            about = [(folder / name).stat() for name in (MANIFEST, ADAPTER, CATALOGUE)]
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({error.strerror}); {_ANEW}") from None
        marks = tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in about)
        return _opened(folder, self._operator, marks)

    def _versions(self) -> list[int]:
        """Installed, ascending."""
        names = [each.name for each in self._path.glob("*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def _point(self, version: int) -> None:
        try:
            write_atomically(self._path / CURRENT, f"{version}\n")
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be written ({error.strerror})") from None

    def _prune(self, version: int) -> None:
        """Take away what is older than what the owner may go back to."""
        for old in [each for each in self._versions() if each < version][: 1 - _KEPT]:
            self._clear(self._path / str(old))

    @staticmethod
    def _clear(folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)


_ANEW = "install a release again (starling client update), or go back (starling client rollback)"


def _read(file: Path, most: int) -> bytes:
    """A file of a release, no longer than one may be."""
    try:
        if (size := file.stat().st_size) > most:
            raise ConfigError(f"{file}: {size} bytes: at most {most} are taken")
        content = read_file(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    if len(content) > most:
        raise ConfigError(f"{file}: more than {most} bytes")
    return content


def _check(folder: Path, operator: str, told: Manifest) -> None:
    """Refuse what is not what was signed, or what this installation can do nothing with."""
    if read_manifest(read_file(folder / MANIFEST), operator) != told:
        raise PrivacyError(f"{folder / MANIFEST}: changed while it was read")
    check_files(told, folder)
    catalogue = catalogue_of(folder / CATALOGUE)
    from client.serving.adapters import open_release  # torch enters here

    try:
        trained = open_release(folder / ADAPTER, catalogue)
    except ModelError as error:
        raise ModelError(f"release {told.version}: cannot be used here: {error}") from None
    if settings_hash(trained.config) != told.settings:
        raise PrivacyError(f"release {told.version}: the adapter is of other settings than signed")


@lru_cache(maxsize=4)
def _opened(folder: Path, operator: str, marks: tuple[tuple[int, int, int], ...]) -> Release:
    """Checked once, and again when a file is another."""
    manifest = read_manifest(read_file(folder / MANIFEST), operator)
    check_files(manifest, folder)
    if folder.name != str(manifest.version):
        raise PrivacyError(f"{folder}: holds release {manifest.version}")
    return Release(manifest.version, manifest, folder)
