"""CSV and Parquet files as raw columns, every row remembering where it stood in its file.

A reader only splits; what a column may hold is the matter of `schema`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from shared.data.readers.content import PACKED, read_text
from shared.data.readers.parquet import read_parquet
from shared.data.readers.table import Column, Table, names_in, place_of
from shared.errors import DataError

PARQUET = ".parquet"
SUFFIXES = (".csv", PARQUET, *(".csv" + suffix for suffix in PACKED))
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'", " ": "blanks"}


def suffix_of(path: Path) -> str | None:
    """Which of `SUFFIXES` a file's name ends in; None for another."""
    return next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)


def read_table(path: Path, wanted: Mapping[str, str], either: Collection[str] = ()) -> Table:
    """The wanted columns of a file.

    Parameters
    ----------
    path : Path
        Ends in .csv (UTF-8, comma separated, quoted by ", first line the header; blank lines are
        skipped), in .csv.gz, .csv.bz2 or .csv.xz, or in .parquet. Rows count from 1, the header of
        a CSV file being line 1.
    wanted : mapping of str to str
        By role, the column that must be there, among any others in any order.
    either : collection of str, optional
        Roles whose column may have the role's own name instead.

    Raises
    ------
    DataError
        Naming file and row, for a file that is missing, of another kind, not UTF-8 or without
        rows, for a missing or repeated column, and for a row with too many or too few fields.
    """
    suffix = suffix_of(path)
    if suffix is None:
        raise DataError(f"{path}: {unknown_kind(path)}")
    return (read_parquet if suffix == PARQUET else _read_csv)(path, wanted, either)


def unknown_kind(path: Path) -> str:
    """What to say of a file that no reader takes."""
    packed = path.suffix in (".zst", ".zip", ".lz4", ".7z", ".tar", ".tgz", *PACKED)
    hint = "; unpack it first" if packed else ""
    return f"unknown kind of file; give one that ends in .csv or .parquet{hint}"


def _read_csv(path: Path, wanted: Mapping[str, str], either: Collection[str]) -> Table:
    rows = csv_rows(path)
    if not rows:
        raise DataError(f"{path}: the file is empty; its first line must name the columns")
    (_, header), body = rows[0], rows[1:]
    wanted = names_in(header, wanted, either)
    _check_separator(path, header, wanted)
    places = [place_of(path, header, role, name) for role, name in wanted.items()]
    for line, fields in body:
        if len(fields) != len(header):
            raise DataError(
                f"{path}, row {line}: {len(fields)} fields, the header names {len(header)};"
                " quote a field that holds a comma"
            )
    if not body:
        raise DataError(f"{path}: no rows under the header; give at least one")
    columns = {
        role: Column([fields[place] for _, fields in body])
        for role, place in zip(wanted, places, strict=True)
    }
    return Table(path, [line for line, _ in body], columns, dict(wanted))


def csv_rows(path: Path, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Rows of a UTF-8 file that are not blank, each with the line it starts on.

    Raises
    ------
    DataError
        Naming file and row, for bytes that are not UTF-8 and for broken quoting.
    """
    text = read_text(path)
    rows: list[tuple[int, list[str]]] = []
    start = 1
    limit = csv.field_size_limit(max(len(text), 1))  # a text may be as long as its file
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        for fields in reader:
            if fields:
                rows.append((start, fields))
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, row {start}: not readable as CSV ({error})") from None
    finally:
        csv.field_size_limit(limit)
    return rows


def split_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, from 1; they end in LF, CR LF or CR."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ((number, line) for number, line in enumerate(lines, start=1) if line)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a file that `read_table` reads back; raises OSError if it cannot be written."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _check_separator(path: Path, header: list[str], wanted: Mapping[str, str]) -> None:
    if any(name in header for name in wanted.values()):
        return
    for separator, shown in _SEPARATORS.items():
        names = [name.strip('" ') for name in separator.join(header).split(separator)]
        if len(names) > 1 and len(header) < len(wanted) and len(names) >= len(wanted):
            raise DataError(
                f"{path}, row 1: looks separated by {shown}, expected commas; save it with commas"
            )
