"""CSV and Parquet files as raw columns, every row remembering where it stood in its file.

A reader only splits; what a column may hold is the matter of `schema`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from shared.data.identifiers import normalised
from shared.data.readers.content import read_text
from shared.data.readers.folder import PARQUET, suffix_of, unknown_kind
from shared.data.readers.parquet import read_parquet
from shared.data.readers.table import Column, Table, names_in, place_of
from shared.errors import DataError

_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'", ",": "commas", ":": "':'", " ": "blanks"}
_ABOVE = 6  # lines among which the names of the columns are looked for


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


def _read_csv(path: Path, wanted: Mapping[str, str], either: Collection[str]) -> Table:
    rows = csv_rows(path)
    if not rows:
        raise DataError(f"{path}: the file is empty; its first line must name the columns")
    (_, header), body = rows[0], rows[1:]
    wanted = names_in(header, wanted, either)
    _check_header(path, rows, wanted)
    places = [place_of(path, header, role, wanted) for role in wanted]
    for line, fields in body:
        if len(fields) != len(header):
            raise DataError(f"{path}, row {line}: {_misfit(fields, len(header))}")
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


def separated_by(line: str, fields: int, among: str) -> str | None:
    """What to call the separator, among these, that makes so many fields or more of a line."""
    for separator in among:
        if sum(bool(field.strip('" ')) for field in line.split(separator)) >= fields:
            return _SEPARATORS[separator]
    return None


def _misfit(fields: list[str], expected: int) -> str:
    if len(fields) == 1 and not normalised(fields[0]):
        return f"holds nothing but {fields[0][:20]!r}; remove the line"
    counted = f"{len(fields)} field{'s' * (len(fields) > 1)}, the header names {expected}; "
    if len(fields) > expected:
        return counted + "quote a field that holds a comma"
    return counted + "write every field, if empty too, and quote one that holds a line break"


def _check_header(path: Path, rows: list[tuple[int, list[str]]], wanted: Mapping[str, str]) -> None:
    """Refuse a first line that is no header, where another one is or the commas are none."""
    first, header = rows[0]
    names = set(wanted.values())
    if not names.isdisjoint(header):
        return
    start = f"{path}, row {first}:"
    for row, fields in rows[1:_ABOVE]:
        if names <= set(fields):
            raise DataError(f"{start} row {row} names the columns; remove what stands above it")
    if len(header) >= len(wanted):
        return
    below = rows[1][1] if len(rows) > 1 else header
    found = separated_by(",".join(header), len(wanted), ";\t|")
    if found is None and len(below) >= len(wanted):
        raise DataError(
            f"{start} {len(header)} field{'s' * (len(header) > 1)}, and {len(below)} in the next; "
            "the first line must name the columns"
        )
    found = found or separated_by(",".join(below), len(wanted), ";\t| ")
    if found is not None:
        raise DataError(f"{start} looks separated by {found}, expected commas; save it with commas")
