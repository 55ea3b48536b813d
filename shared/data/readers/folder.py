"""What a folder holds: the entries that are, or may be, the file of a name."""

from __future__ import annotations

import os
from pathlib import Path

from shared.data.readers.content import PACKED
from shared.errors import DataError

PARQUET = ".parquet"
SUFFIXES = (".csv", PARQUET, *(".csv" + suffix for suffix in PACKED))
PACKINGS = (*PACKED, ".zst", ".zip", ".lz4", ".7z", ".tar", ".tgz", ".rar", ".br", ".z", ".lzma")
_SHOWN = (".csv", PARQUET)  # of SUFFIXES, in messages
# In which a table is written elsewhere; without any it is a folder of parts, or was renamed.
_KINDS = (
    *("", *_SHOWN, ".tsv", ".tab", ".psv", ".txt", ".dat", ".data", ".json", ".jsonl", ".ndjson"),
    *(".pq", ".parq", ".feather", ".arrow", ".orc", ".avro", ".xls", ".xlsx", ".xlsm", ".ods"),
    *(".inter", ".item", ".ascii", ".db", ".sqlite", ".sqlite3", ".sql", ".pkl", ".pickle"),
    *(".npy", ".npz", ".h5", ".hdf5", ".xml"),
)


def suffix_of(path: Path) -> str | None:
    """Which of `SUFFIXES` a file's name ends in; None for another."""
    return next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)


def unknown_kind(path: Path) -> str:
    """What to say of a file that no reader takes."""
    hint = "; unpack it first" if path.suffix.lower() in PACKINGS else ""
    return f"unknown kind of file; give one that ends in .csv or .parquet{hint}"


def is_there(path: Path) -> bool:
    """Whether there is anything of that name: a link that leads nowhere, too."""
    return os.path.lexists(path)


def twins(folder: Path, name: str) -> list[str]:
    """The entries of a folder that are the file of that name, or may be it.

    That is in another case, in another packing and, of a table (`*.csv`), in another format. What
    `tables` reads comes first. Empty for what is no folder.

    Raises
    ------
    DataError
        If the folder cannot be listed.
    """
    try:
        entries = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from None
    found = [entry for entry in entries if _may_be(entry, name.casefold())]
    return sorted(found, key=lambda entry: (entry != name, not readable(entry, name)))


def readable(entry: str, name: str) -> bool:
    """Whether an entry is the file of that name, or of a table one that `tables` reads."""
    stem = name.removesuffix(".csv")
    return entry == name or (stem != name and entry in [stem + suffix for suffix in SUFFIXES])


def _may_be(entry: str, name: str) -> bool:
    written = entry.casefold().strip()
    while Path(written).suffix in PACKINGS:
        written = Path(written).stem
    stem = name.removesuffix(".csv")
    if stem == name:
        return written == name
    return written.startswith(stem) and written[len(stem) :] in _KINDS


def documented(folder: Path) -> list[str]:
    """The names of files in the documented form that a folder holds."""
    names = ("interactions.csv", "items.csv")
    return [entry for name in names for entry in twins(folder, name) if readable(entry, name)]


def find(folder: Path, stem: str, needed: str = "both interactions and items are needed") -> Path:
    """The one file of that name in the folder, in either format; `needed` says what to do.

    Raises
    ------
    DataError
        If there is none, or more than one.
    """
    name = f"{stem}.csv"
    found = twins(folder, name)
    if not found or not readable(found[0], name):
        names = " or ".join(stem + suffix for suffix in _SHOWN)
        seen = f" ({found[0]}: {_instead(found[0], name)})" if found else ""
        raise DataError(f"{folder}: no {names}; {needed}{seen}")
    if len(found) > 1:
        raise DataError(f"{folder}: both {' and '.join(found[:2])}; keep one")
    return folder / found[0]


def _instead(entry: str, name: str) -> str:
    if readable(meant := entry.casefold().strip(), name):
        return f"rename it {meant}"
    return unknown_kind(Path(entry))
