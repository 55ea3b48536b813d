"""The bytes of a file, once, and their text: nothing is guessed that the bytes do not say."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

from shared.errors import DataError
from shared.files import NotAFileError, check_file

PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}

_MAGIC = (
    (b"PAR1", "a Parquet file; name it .parquet"),
    (b"\x1f\x8b", "packed by gzip; name it .csv.gz"),
    (b"BZh", "packed by bzip2; name it .csv.bz2"),
    (b"\xfd7zXZ", "packed by xz; name it .csv.xz"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd; unpack it first"),
    (b"PK\x03\x04", "a zip archive or a workbook; save it as CSV"),
    (b"SQLite format 3", "a database; export the table as CSV"),
)
_MARK = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


def check_regular(path: Path) -> None:
    """Refuse at once what is no file on disk: a pipe would be waited for, and is read only once.

    Raises
    ------
    DataError
        For a folder, a pipe, a socket or a device, and for what cannot be looked at.
    """
    try:
        check_file(path)
    except NotAFileError as error:
        raise DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if path.is_dir():
        parts = "; join its parts into one file (docs/data.md)" if path.suffix == ".parquet" else ""
        raise DataError(f"{path}: is a folder, expected a file{parts}")


def read_text(path: Path, otherwise: str | None = None) -> str:
    """The whole text of a file, unpacked by its last suffix, without a byte order mark.

    Parameters
    ----------
    path : Path
    otherwise : str, optional
        The encoding of a file that is not UTF-8; by default it is refused.

    Raises
    ------
    DataError
        Naming file and row, for what is no file, packed in another way than its name says, not
        text, or not UTF-8.
    """
    content = _content(path)
    for magic, what in _MAGIC:
        if content.startswith(magic):
            raise DataError(f"{path}: is {what}")
    if content.startswith(_MARK * 2):
        raise DataError(f"{path}: begins with two byte order marks; save it as UTF-8 with none")
    if content.startswith(_WIDE):
        raise DataError(f"{path}, row 1: not UTF-8 but UTF-16 or UTF-32; save the file as UTF-8")
    if (place := content.find(b"\0")) >= 0:
        raise DataError(
            f"{path}, row {_line(content, place)}: not text (byte 0x00); save the file as UTF-8"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if otherwise is not None:
            return content.decode(otherwise)
        row, byte = _line(content, error.start), content[error.start]
        raise DataError(
            f"{path}, row {row}: not UTF-8 (byte 0x{byte:02x}); save the file as UTF-8"
        ) from None


def _content(path: Path) -> bytes:
    check_regular(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    unpack = PACKED.get(path.suffix)
    if unpack is None or not content:
        return content
    try:
        return unpack(content)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{path}: not a whole {path.suffix} file ({error}); pack it again"
        ) from None


def _line(content: bytes, place: int) -> int:
    """The line of a byte, from 1; lines end in LF, CR LF or CR."""
    before = content[:place]
    return 1 + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
