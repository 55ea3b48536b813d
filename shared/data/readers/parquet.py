"""Parquet files as raw columns: text and whole numbers as they are, anything else by its name."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from shared.data.readers.content import check_regular
from shared.data.readers.table import Column, Table, names_in, place_of
from shared.errors import DataError

_SECONDS = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # decimal digits of a unit


def read_parquet(path: Path, wanted: Mapping[str, str], either: Collection[str]) -> Table:
    """As `shared.data.readers.tables.read_table`."""
    check_regular(path)
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path}: reading Parquet needs pyarrow; pip install pyarrow") from None
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            header = list(file.schema_arrow.names)
            index = _pandas_index(file.schema_arrow.metadata or {})
            wanted = names_in(header, wanted, either)
            for role, name in wanted.items():
                if name in index and name not in header:
                    raise DataError(
                        f"{path}, row 1: {name!r} is the index of the table, which is not stored; "
                        "write it with reset_index()"
                    )
                place_of(path, header, role, wanted)
            table = file.read(columns=list(wanted.values()))
            _check_int96(path, file, table)
            columns = {
                role: _column(path, name, table.column(name), file.schema_arrow.field(name))
                for role, name in wanted.items()
            }
    except DataError:
        raise
    except (OSError, ValueError, ArithmeticError, NotImplementedError) as error:
        # pyarrow's errors for damaged files derive from these
        raise DataError(
            f"{path}: damaged, or not a Parquet file ({str(error).splitlines()[0]})"
        ) from None
    if not table.num_rows:
        raise DataError(f"{path}: no rows; give at least one")
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
        described = json.loads(metadata.get(b"pandas", b"{}"))["index_columns"]
        return {str(one.get("name")) for one in described if isinstance(one, dict)}
    except (ValueError, KeyError, TypeError, RecursionError):  # not as pandas writes it
        return set()


def _column(path: Path, name: str, array: Any, field: Any) -> Column:
    # Whether an extension is known depends on what else was imported (that of pandas, on pandas);
    # where it is not, the column is of the type in which it is stored.
    extension = (field.metadata or {}).get(b"ARROW:extension:name")
    if extension is not None:
        return Column([None] * len(array), extension.decode("utf-8", "replace"))
    try:
        return _plain(array)
    except UnicodeDecodeError:
        for row, value in enumerate(array, start=1):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                raise DataError(
                    f"{path}, row {row}: {name} is not UTF-8 (byte 0x{byte:02x}); write it as UTF-8"
                ) from None
        raise


def _plain(array: Any) -> Column:
    """A Parquet column as text or as whole numbers; of another kind, by its name alone."""
    import pyarrow

    types = pyarrow.types
    if types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind, digits = array.type, 0
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Column(array.to_pylist())
    if types.is_float64(kind) or types.is_decimal(kind):
        written = [_written(one) for one in array.to_pylist()]
        return Column(written, "number" if types.is_float64(kind) else "decimal")
    if types.is_integer(kind):
        if types.is_uint64(kind) or array.null_count:
            return Column([_written(one) for one in array.to_pylist()], "whole")
        return Column(array.cast(pyarrow.int64()).to_numpy(), "whole")
    if types.is_date(kind):
        array, digits = array.cast("timestamp[ms]"), _SECONDS["ms"]
    elif types.is_timestamp(kind):
        digits = _SECONDS[kind.unit]
    else:
        shown = getattr(kind, "extension_name", str(kind))
        return Column([None] * len(array), shown.partition("(")[0].partition("<")[0])
    array = array.cast(pyarrow.int64())
    if array.null_count:
        return Column([_written(one) for one in array.to_pylist()], "instant")
    return Column(array.to_numpy(), "instant", digits)


def _written(value: int | float | Decimal | None) -> str | None:
    """A number as text, exactly; a float in the fewest digits that tell it apart."""
    if isinstance(value, Decimal):
        return str(int(value)) if value == value.to_integral_value() else format(value, "f")
    return None if value is None else str(value)
