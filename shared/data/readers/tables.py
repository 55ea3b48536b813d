"""CSV and Parquet files as columns of text, every row remembering where it stood in its file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from shared.errors import DataError

SUFFIXES = (".csv", ".parquet")
ROW = "__row__"  # the column holding a row's place: line of a CSV file, row of a Parquet file


def read_table(path: Path, required: Sequence[str]) -> pd.DataFrame:
    """The required columns of a file, as text where the file is text, plus `ROW`.

    Parameters
    ----------
    path : Path
        Ends in .csv (UTF-8, comma separated, quoted by ", first line the header; blank lines are
        skipped) or .parquet. Rows count from 1, the header of a CSV file being line 1.
    required : sequence of str
        Columns that must be there, in any order, among any others.

    Raises
    ------
    DataError
        Naming file and row, for a file that is missing, of another kind, not UTF-8 or without
        rows, for a missing or repeated column, and for a row with too many or too few fields.
    """
    try:
        if path.suffix == ".parquet":
            return _read_parquet(path, required)
        if path.suffix == ".csv":
            return _read_csv(path, required)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    raise DataError(f"{path}: unknown kind of file; give one that ends in .csv or .parquet")


def _read_csv(path: Path, required: Sequence[str]) -> pd.DataFrame:
    rows = csv_rows(path)
    _, header = next(rows, (0, None))
    if header is None:
        raise DataError(f"{path}: the file is empty; its first line must name the columns")
    wanted = [_column(path, header, name) for name in required]
    columns: list[list[str]] = [[] for _ in required]
    lines: list[int] = []
    for line, fields in rows:
        if len(fields) != len(header):
            raise DataError(
                f"{path}, row {line}: {len(fields)} fields, the header names {len(header)};"
                " quote a field that holds a comma"
            )
        lines.append(line)
        for column, position in zip(columns, wanted, strict=True):
            column.append(fields[position])
    if not lines:
        raise DataError(f"{path}: no rows under the header; give at least one")
    table = pd.DataFrame(dict(zip(required, columns, strict=True)), dtype=object)
    table[ROW] = lines
    return table


def csv_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Rows of a UTF-8 file that are not blank, each with the line it starts on.

    Raises
    ------
    DataError
        Naming file and row, for bytes that are not UTF-8 and for broken quoting.
    """
    _check_utf8(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        start = 1
        try:
            for fields in reader:
                if fields:
                    yield start, fields
                start = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path}, row {start}: not readable as CSV ({error})") from None


def _check_utf8(path: Path) -> None:
    """Look at the bytes first: while reading decoded blocks, the line at fault is not known."""
    with path.open("rb") as file:
        for line, content in enumerate(file, start=1):
            try:
                content.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = content[error.start]
                raise DataError(
                    f"{path}, row {line}: not UTF-8 (byte 0x{byte:02x}); save the file as UTF-8"
                ) from None


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a file that `read_table` reads back; raises OSError if it cannot be written."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _read_parquet(path: Path, required: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except ImportError:
        raise DataError(f"{path}: reading Parquet needs pyarrow; pip install pyarrow") from None
    except ValueError as error:  # pyarrow's errors for damaged files derive from it
        raise DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    for name in required:
        _column(path, [str(column) for column in table.columns], name)
    if table.empty:
        raise DataError(f"{path}: no rows; give at least one")
    table = table[list(required)].reset_index(drop=True)
    table[ROW] = range(1, len(table) + 1)
    return table


def _column(path: Path, header: list[str], name: str) -> int:
    if header.count(name) != 1:
        found = "no column" if name not in header else "more than one column"
        raise DataError(f"{path}, row 1: {found} {name!r} (columns: {', '.join(header)})")
    return header.index(name)
