"""From what a user writes to a log: a known name, or a path to a folder or file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from shared.data.fetch import MOVIELENS_100K, Archive, fetch_archive
from shared.data.log import InteractionLog
from shared.data.readers.columns import read_log
from shared.data.readers.movielens import read_movielens_100k, read_movielens_latest
from shared.data.readers.sequences import read_sequences
from shared.data.readers.two_shops import ITEMS, ROWS, read_two_shops
from shared.errors import DataError, nearest

VARIABLE = "STARLING_DATA"
OFFLINE = "STARLING_OFFLINE"  # 1: nothing is fetched unless `fetch` is called


@dataclass(frozen=True)
class _Source:
    """A data set known by name."""

    folder: str  # its published folder
    files: tuple[str, ...]  # what it is recognised by
    read: Callable[[Path, str], InteractionLog]
    archive: Archive | None  # None: it cannot be fetched
    reason: str = "its publisher offers another form"  # why it cannot

    def recognise(self, folder: Path) -> bool:
        """Whether a folder holds this set, or another one of its form."""
        return all((folder / name).is_file() for name in self.files)


_SEQUENCES = ("test.txt", "item_list.txt")
_SOURCES = {
    "movielens-100k": _Source("ml-100k", ("u.data", "u.item"), read_movielens_100k, MOVIELENS_100K),
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
    "amazon-arts-office": _Source("amazon-arts-office", (*ITEMS, *ROWS), read_two_shops, None),
}


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
        KnownSource(name, _locate(source), source.archive is not None)
        for name, source in _SOURCES.items()
    )


def open_log(spec: str) -> InteractionLog:
    """The log that a `--data` argument means.

    Parameters
    ----------
    spec : str
        A known name, looked up in `$STARLING_DATA`, `../shared/data` and the user's cache, then
        fetched from its publisher into that cache (saying so on stderr), unless
        `$STARLING_OFFLINE` is 1; or a path to a folder or file in the documented columns, or to a
        folder as published.

    Raises
    ------
    DataError
        If the name is unknown, its data is nowhere and cannot be fetched, or the data breaks a
        rule.
    """
    if spec in _SOURCES:
        source = _SOURCES[spec]
        _check_environment()
        return source.read(_locate(source) or _fetch_absent(spec, source), spec)
    path = Path(spec)
    if not spec or not path.exists():
        raise DataError(
            f"data {spec!r}: neither a known name (world, {', '.join(_SOURCES)}) nor a path to a"
            f" folder or a .csv or .parquet file{nearest(spec, ['world', *_SOURCES])}"
        )
    for source in _SOURCES.values():
        if source.recognise(path):
            return source.read(path, spec)
    return read_log(path)


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


def _locate(source: _Source) -> Path | None:
    for place in _places():
        if source.recognise(place / source.folder):
            return place / source.folder
    return None


def _places() -> Iterator[Path]:
    if value := os.environ.get(VARIABLE):
        yield Path(value)
    yield Path.cwd().parent / "shared" / "data"
    yield Path(__file__).resolve().parents[2].parent / "shared" / "data"
    yield _cache()


def _cache() -> Path:
    return Path(platformdirs.user_cache_dir("starling", appauthor=False)) / "data"
