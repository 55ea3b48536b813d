"""Arrays of one round, from a file that may come from anyone: known names, bounded, finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors

from shared.errors import DataError
from shared.files import check_file
from shared.printable import printable

MOST = 2**26
"""Numbers in all arrays of a run together: half a gigabyte as they are read."""
LARGEST = 1e30
"""Of one number: its square, times any divisor, is a number still."""

_NAMES = ("sent", "clipped", "start", "released")
_KINDS: dict[str, npt.DTypeLike] = {"F32": "<f4", "F64": "<f8"}
_HEADER = 2**16  # bytes of a file beside its numbers

_Told = list[tuple[str, Mapping[str, Any]]]
_deserialize: Callable[[bytes], _Told] = safetensors.deserialize

Arrays = dict[str, npt.NDArray[Any]]


def read_bytes(file: Path, most: int) -> bytes:
    """A file's content.

    Raises
    ------
    DataError
        If it cannot be read, or has more than `most` bytes.
    """
    try:
        check_file(file)
        with file.open("rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    if len(content) > most:
        raise DataError(f"{file}: more than {most} bytes: expected fewer; give fewer rounds")
    return content


def arrays_of(content: bytes, file: Path, left: int) -> Arrays:
    """The arrays of a safetensors file.

    Parameters
    ----------
    content : bytes
    file : Path
        As errors name it.
    left : int
        How many numbers they may hold.

    Raises
    ------
    DataError
        If it is none, or holds other arrays than those of the format, or too many numbers.
    """
    try:
        told = _deserialize(content)
    except (safetensors.SafetensorError, ValueError, OverflowError, MemoryError) as error:
        why = printable(str(error)[:100])
        raise DataError(f"{file}: no safetensors file ({why}); write it with safetensors") from None
    found: Arrays = {}
    for name, each in told:
        if name not in _NAMES:
            expected = ", ".join(_NAMES)
            raise DataError(f"{file}: array {printable(name[:40])!r}: expected some of {expected}")
        if each["dtype"] not in _KINDS:
            raise DataError(f"{file}: {name} is of {each['dtype']}: expected F32 or F64")
        left -= math.prod(each["shape"])
        if left < 0:
            raise DataError(f"{file}: {name}: more than {MOST} numbers in all; give fewer rounds")
        numbers = np.frombuffer(each["data"], dtype=_KINDS[each["dtype"]])
        found[name] = numbers.reshape(each["shape"])
        _check_numbers(found[name], f"{file}: {name}")
    return found


def _check_numbers(array: npt.NDArray[Any], name: str) -> None:
    if array.ndim not in (1, 2) or 0 in array.shape:
        shape = list(array.shape)
        raise DataError(f"{name} of shape {shape}: expected one or two dimensions, none of them 0")
    far = max(float(array.max()), -float(array.min()))
    if not far <= LARGEST:  # NaN, where there is one
        raise DataError(f"{name} holds {far:g}: expected finite numbers, at most {LARGEST:g}")


def room(left: int) -> int:
    """How many bytes a file may have that holds at most so many numbers."""
    return 8 * left + _HEADER
