"""CSV and Parquet files as raw columns, every row remembering where it stood in its file.

A reader only splits; what a column may hold is the matter of `schema`.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.data.readers.content import PACKED, check_regular, read_text
from shared.errors import DataError

PARQUET = ".parquet"
SUFFIXES = (".csv", PARQUET, *(".csv" + suffix for suffix in PACKED))
_SECONDS = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # decimal digits of a unit
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
_NAMES = {  # what columns are called elsewhere
    "user": ("uid", "customer", "reviewer", "visitor", "member", "person", "account"),
    "item": ("movie", "asin", "product", "article", "song", "book", "business", "iid"),
    "timestamp": ("time", "ts", "date", "datetime", "when", "unixreviewtime"),
    "text": ("title", "name", "description"),
}


@dataclass(frozen=True)
class Column:
    """One column as its file holds it.

    Attributes
    ----------
    values : sequence of (str or None), or int64 [n]
        None where nothing is stored.
    kind : str
        `text`, `whole`, `number`, `instant`, or what a Parquet file calls anything else.
    digits : int
        Of int64 values of times: a value is values / 10^digits.
    """

    values: Sequence[str | None] | NDArray[np.int64]
    kind: str = "text"
    digits: int = 0


@dataclass(frozen=True)
class Table:
    """The wanted columns of a file.

    Attributes
    ----------
    path : Path
    rows : sequence of int
        Where each row stands: the line of a text file on which it starts, the row of a Parquet
        file, from 1.
    columns : dict of str to Column
        By role, as `user`.
    names : dict of str to str
        What the file calls them, where it is not the role.
    """

    path: Path
    rows: Sequence[int]
    columns: Mapping[str, Column]
    names: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def refusal(self, position: int, message: str) -> DataError:
        """The error of one row."""
        return DataError(f"{self.path}, row {self.rows[position]}: {message}")

    def name(self, role: str) -> str:
        """What the file calls a column."""
        return self.names.get(role, role)


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
    return (_read_parquet if suffix == PARQUET else _read_csv)(path, wanted, either)


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
    wanted = _names(header, wanted, either)
    _check_separator(path, header, wanted)
    places = [_column(path, header, role, name) for role, name in wanted.items()]
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


def _column(path: Path, header: list[str], role: str, name: str) -> int:
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise DataError(f"{path}, row 1: more than one column {name!r}; keep one")
    found = ", ".join(one if one.isidentifier() else repr(one) for one in header[:20])
    start = f"{path}, row 1: no column {name!r} (columns: {found})"
    if all(re.fullmatch(r"[-+.0-9: ]*", one) for one in header):
        raise DataError(f"{start}; the first line must name the columns")
    near = _nearest(header, role, name)
    if near is None:
        raise DataError(f"{start}; rename one, or say which with --columns {role}=NAME")
    say = shlex.quote(f"{role}={near}")
    raise DataError(f"{start}; {near!r} is near: rename it, or say --columns {say}")


def _nearest(header: list[str], role: str, name: str) -> str | None:
    plain = {re.sub(r"[\W_]", "", one).lower(): one for one in reversed(header)}
    close = difflib.get_close_matches(name.lower().replace("_", ""), plain, n=1, cutoff=0.75)
    for known in (*close, *(f"{role}{end}" for end in ("id", "name")), *_NAMES.get(role, ())):
        for one, written in plain.items():
            if one == known or (len(known) > 3 and one.startswith(known)):
                return written
    return None


def _names(
    header: list[str], wanted: Mapping[str, str], either: Collection[str]
) -> Mapping[str, str]:
    return {
        role: role if role in either and role in header and name not in header else name
        for role, name in wanted.items()
    }


def _read_parquet(path: Path, wanted: Mapping[str, str], either: Collection[str]) -> Table:
    check_regular(path)
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path}: reading Parquet needs pyarrow; pip install pyarrow") from None
    try:
        with parquet.ParquetFile(path) as file:
            header = list(file.schema_arrow.names)
            index = _pandas_index(file.schema_arrow.metadata or {})
            wanted = _names(header, wanted, either)
            for role, name in wanted.items():
                if name in index and name not in header:
                    raise DataError(
                        f"{path}, row 1: {name!r} is the index of the table, which is not stored; "
                        "write it with reset_index()"
                    )
                _column(path, header, role, name)
            table = file.read(columns=list(wanted.values()))
            _check_int96(path, file, table)
    except (OSError, ValueError, ArithmeticError, NotImplementedError) as error:
        # pyarrow's errors for damaged files derive from these
        raise DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    if not table.num_rows:
        raise DataError(f"{path}: no rows; give at least one")
    columns = {role: _plain(table.column(name)) for role, name in wanted.items()}
    return Table(path, range(1, table.num_rows + 1), columns, dict(wanted))


def _check_int96(path: Path, file: Any, table: Any) -> None:
    """Instants of 96 bits are read in nanoseconds, which end in 2262; then they wrap around."""
    from pyarrow import parquet

    physical = {file.schema.column(place).physical_type for place in range(len(file.schema))}
    if "INT96" not in physical:
        return
    with parquet.ParquetFile(path, coerce_int96_timestamp_unit="us") as coarse:
        again = coarse.read(columns=table.column_names)
    for name in table.column_names:
        if str(table.schema.field(name).type) == "timestamp[ns]":
            fine = table.column(name).cast("int64").to_pylist()
            same = again.column(name).cast("int64").to_pylist()
            if any(a is not None and a // 1000 != b for a, b in zip(fine, same, strict=True)):
                raise DataError(
                    f"{path}: {name!r} holds INT96 times outside 1677 to 2262; write microseconds"
                )


def _pandas_index(metadata: Mapping[bytes, bytes]) -> set[str]:
    """Names of the indices that pandas describes instead of storing."""
    try:
        described = json.loads(metadata.get(b"pandas", b"{}")).get("index_columns", [])
    except ValueError:
        return set()
    return {str(one.get("name")) for one in described if isinstance(one, dict)}


def _plain(array: Any) -> Column:
    """A Parquet column as text or as whole numbers; of another kind, by its name alone."""
    from pyarrow import int64, types

    if types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind, digits = array.type, 0
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Column(array.to_pylist())
    if types.is_float64(kind) or types.is_decimal(kind):
        return Column([_written(one) for one in array.to_pylist()], "number")
    if types.is_integer(kind):
        if types.is_uint64(kind) or array.null_count:
            return Column([_written(one) for one in array.to_pylist()], "whole")
        return Column(array.cast(int64()).to_numpy(), "whole")
    if types.is_date(kind):
        array, digits = array.cast("timestamp[ms]"), _SECONDS["ms"]
    elif types.is_timestamp(kind):
        digits = _SECONDS[kind.unit]
    else:
        return Column([None] * len(array), str(kind).partition("(")[0].partition("<")[0])
    array = array.cast(int64())
    if array.null_count:
        return Column([_written(one) for one in array.to_pylist()], "instant")
    return Column(array.to_numpy(), "instant", digits)


def _written(value: int | float | Decimal | None) -> str | None:
    """A number as text, exactly; a float in the fewest digits that tell it apart."""
    if isinstance(value, Decimal):
        return str(int(value)) if value == value.to_integral_value() else format(value, "f")
    return None if value is None else str(value)
