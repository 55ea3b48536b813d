"""From what a user writes to a log: a known name, or a path to a folder or file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from shared.data.catalogue import Catalogue
from shared.data.fetch import MOVIELENS_100K, Archive, fetch_archive
from shared.data.log import InteractionLog
from shared.data.readers.columns import read_items, read_log
from shared.data.readers.folder import documented, is_there, readable, suffix_of, twins
from shared.data.readers.movielens import read_movielens_100k, read_movielens_latest
from shared.data.readers.sequences import read_sequences
from shared.data.readers.two_shops import ITEMS, ROWS, read_two_shops
from shared.errors import DataError, nearest
from shared.printable import printable

VARIABLE = "STARLING_DATA"
OFFLINE = "STARLING_OFFLINE"  # 1: nothing is fetched unless `fetch` is called


@dataclass(frozen=True)
class _Source:
    """A data set known by name."""

    folder: str  # its published folder
    files: tuple[str, ...]  # what it is recognised by, the interactions first
    read: Callable[[Path, str], InteractionLog]
    archive: Archive | None  # None: it cannot be fetched
    reason: str = "its publisher offers another form"  # why it cannot
    beside: tuple[str, ...] = ()  # what is read as well

    def recognise(self, folder: Path) -> bool:
        """Whether a folder holds this set, or another one of its form."""
        return all(is_there(folder / name) for name in self.files)


_SEQUENCES = ("test.txt", "item_list.txt")
_SOURCES = {
    "movielens-100k": _Source(
        "ml-100k",
        ("u.data", "u.item"),
        read_movielens_100k,
        MOVIELENS_100K,
        beside=("u.genre",),
    ),
    "movielens-latest-small": _Source(
        "ml-latest-small",
        ("ratings.csv", "movies.csv"),
        read_movielens_latest,
        None,
        "its publisher may replace it, so no checksum holds; unpack ml-latest-small.zip from "
        "https://grouplens.org/datasets/movielens/latest",
    ),
    "movielens-1m": _Source("ml-1m", _SEQUENCES, read_sequences, None),
    "amazon-software": _Source("amazon-software", _SEQUENCES, read_sequences, None),
    "amazon-arts-office": _Source("amazon-arts-office", (*ROWS, *ITEMS), read_two_shops, None),
}


_FILES = frozenset(name for source in _SOURCES.values() for name in source.files)


@dataclass(frozen=True)
class KnownSource:
    """A known name, where its data lies, and whether it can be fetched.

    Attributes
    ----------
    name : str
    folder : Path or None
        None if it is nowhere on this machine.
    fetchable : bool
    """

    name: str
    folder: Path | None
    fetchable: bool


def known_sources() -> tuple[KnownSource, ...]:
    """All known names, each with the first folder that holds it."""
    return tuple(
        KnownSource(name, _locate(source, strict=False), source.archive is not None)
        for name, source in _SOURCES.items()
    )


def open_log(spec: str, columns: Mapping[str, str] | None = None) -> InteractionLog:
    """The log that a `--data` argument means; says on stderr if it changed an identifier.

    Parameters
    ----------
    spec : str
        A known name, looked up in `$STARLING_DATA`, `../shared/data` and the user's cache, then
        fetched from its publisher into that cache (saying so on stderr), unless
        `$STARLING_OFFLINE` is 1; or a path to a folder or file in the documented columns, or to a
        folder as published.
    columns : mapping of str to str, optional
        By role, what files in the documented form call a column instead.

    Raises
    ------
    DataError
        If the name is unknown, its data is nowhere and cannot be fetched, the folder holds a second
        log beside the one that is meant, or the data breaks a rule.
    """
    log = _open(spec, columns)
    if log.reading.normalised:
        sys.stderr.write(
            f"data {printable(spec)}: {log.reading.normalised} identifiers were taken in another "
            "form than written (Unicode NFC, no blanks around them; docs/data.md)\n"
        )
    return log


def open_items(spec: str, columns: Mapping[str, str] | None = None) -> Catalogue:
    """The catalogue that an `--items` argument means: a log's, or a file of items alone.

    Parameters and errors as for `open_log`.
    """
    path = Path(spec)
    alone = spec not in _SOURCES and (path.is_file() or (path.is_dir() and _form(path) is None))
    return read_items(path, columns) if alone else open_log(spec, columns).catalogue


def _open(spec: str, columns: Mapping[str, str] | None) -> InteractionLog:
    if spec in _SOURCES:
        source = _SOURCES[spec]
        _check_environment()
        folder = _locate(source) or _fetch_absent(spec, source)
        _check_twin(spec, folder)
    else:
        folder = Path(spec)
        if not spec or not (folder.exists() or folder.is_symlink()):
            raise DataError(
                f"data {spec!r}: neither a known name (world, {', '.join(_SOURCES)}) nor a path to "
                f"a folder or a .csv or .parquet file{nearest(spec, ['world', *_SOURCES])}"
            )
    if folder.name in _FILES and suffix_of(folder) is None and not folder.is_dir():
        raise DataError(f"{folder}: one of the files of a published log; give its folder")
    form = _form(folder)
    if form is None:
        _check_foreign(folder)
        return read_log(folder, columns)
    if columns:
        raise DataError(
            f"data {spec!r}: read in its published form, which has columns of its own; leave "
            "--columns out, or point --data at a file in the documented form"
        )
    return form.read(folder, spec)


def _form(folder: Path) -> _Source | None:
    """In which published form a folder holds a log; None: in the documented one, or none.

    Raises
    ------
    DataError
        If there is a second log in it: to choose one would bring back who was taken out of the
        other.
    """
    if not folder.is_dir():
        return None
    forms = [source for source in _SOURCES.values() if source.recognise(folder)]
    own = twins(folder, "interactions.csv") or twins(folder, "items.csv")
    rows = bool(own) and readable(own[0], "interactions.csv")
    if not (forms or rows):
        return None
    published = dict.fromkeys(source.files[0] for source in _SOURCES.values())
    logs = [*own[:1], *(entry for name in published for entry in twins(folder, name))]
    if len(logs) > 1:
        way = f"point --data at {folder / logs[0]}" if rows else "keep each in a folder of its own"
        raise DataError(
            f"{folder}: holds two logs or parts of them, {logs[0]} and {logs[1]}; remove one, or "
            f"{way}"
        )
    for name in (*forms[0].files[1:], *forms[0].beside) if forms else ():
        if len(found := twins(folder, name)) > 1:
            raise DataError(f"{folder}: both {' and '.join(found[:2])}; keep one")
    return next(iter(forms), None)


def _check_twin(spec: str, found: Path) -> None:
    """A folder here of the same name as a known set is another log, and may be the one meant."""
    here = Path(spec)
    if here.is_dir() and not here.samefile(found) and (documented(here) or _form(here)):
        raise DataError(
            f"data {spec!r}: a known name (at {found}) and a folder here; write ./{spec} for the "
            "folder, or rename it"
        )


_FOREIGN = (
    ("*.inter", "a folder of RecBole"),
    ("*.json*", "reviews or events in JSON"),
    ("part-*", "a table in parts"),
    ("*=*", "a data set in partitions"),
    ("ratings.dat", "MovieLens-1M in its publisher's files"),
    ("*.ascii", "a matrix of ratings"),
    ("*.gz", "packed files"),
    ("*.zip", "packed files"),
    ("train.txt", "lists of item numbers, as LightGCN and KGAT publish them"),
)


def _check_foreign(folder: Path) -> None:
    """A form that others publish and nobody here reads is named."""
    if not folder.is_dir() or documented(folder):
        return
    for pattern, what in _FOREIGN:
        if (found := next(iter(sorted(folder.glob(pattern))), None)) is not None:
            raise DataError(
                f"{folder}: looks like {what} ({found.name}), which is not read; write "
                "interactions.csv and items.csv in the documented columns (docs/data.md)"
            )


def fetch(name: str) -> Path:
    """Put a known data set into the user's cache, from its publisher.

    Raises
    ------
    DataError
        If the name is unknown, nobody publishes that form of it, or the transfer fails.
    """
    if name not in _SOURCES:
        known = f"choose from {', '.join(_SOURCES)}{nearest(name, _SOURCES)}"
        raise DataError(f"data {name!r}: not a known name; {known}")
    source = _SOURCES[name]
    if source.archive is None:
        raise DataError(_absent(name, source))
    return fetch_archive(source.archive, source.folder, _cache())


def _fetch_absent(name: str, source: _Source) -> Path:
    """Fetch what a run needs and this machine lacks, and say so."""
    if source.archive is None or os.environ.get(OFFLINE) == "1":
        raise DataError(_absent(name, source))
    sys.stderr.write(f"data {name}: not on this machine; fetching {source.archive.url}\n")
    try:
        return fetch(name)
    except (DataError, OSError) as error:  # OSError: the cache cannot be written
        cause = str(error).partition(";")[0]  # its advice gives way to ours
        raise DataError(f"{_absent(name, source)} ({cause})") from None


def _check_environment() -> None:
    """A variable that was set by mistake is told, not passed over."""
    folder = os.environ.get(VARIABLE)
    if folder and not Path(folder).is_dir():
        raise DataError(f"{VARIABLE}={folder}: no such folder; correct it or unset it")
    offline = os.environ.get(OFFLINE, "0")
    if offline not in ("0", "1"):
        raise DataError(f"{OFFLINE}={offline}: expected 1 (nothing is fetched) or 0")


def _absent(name: str, source: _Source) -> str:
    by_hand = f"set {VARIABLE} to a folder that holds {source.folder}/"
    if source.archive is None:
        return f"data {name!r}: cannot be fetched, {source.reason}; {by_hand}"
    return f"data {name!r}: not on this machine; run 'starling data fetch {name}' or {by_hand}"


def _locate(source: _Source, strict: bool = True) -> Path | None:
    for place in places():
        folder = place / source.folder
        if source.recognise(folder):
            return folder
        missing = [name for name in source.files if not is_there(folder / name)]
        if strict and place != _cache() and len(missing) < len(source.files):
            raise DataError(
                f"{folder}: lacks {missing[0]}; put it back, or remove the folder so that the data "
                "are looked up elsewhere"
            )
    return None


def places() -> Iterator[Path]:
    """Where known data sets are looked for, in that order."""
    if value := os.environ.get(VARIABLE):
        yield Path(value)
    yield Path.cwd().parent / "shared" / "data"
    yield Path(__file__).resolve().parents[2].parent / "shared" / "data"
    yield _cache()


def _cache() -> Path:
    return Path(platformdirs.user_cache_dir("starling", appauthor=False)) / "data"
