"""The bytes of a file, once, and their text: nothing is guessed that the bytes do not say."""

from __future__ import annotations

import bz2
import errno
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.errors import DataError
from shared.files import NotAFileError, check_file

_STREAMS: dict[str, Callable[[], Any]] = {
    ".gz": lambda: zlib.decompressobj(wbits=31),
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
}
PACKED = tuple(_STREAMS)

_MAGIC = (  # none of which is the beginning of a text
    (rb"PAR1[^ -~\r\n]", "a Parquet file; name it .parquet"),
    (rb"\x1f\x8b", "packed by gzip; name it .csv.gz"),
    (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", "packed by bzip2; name it .csv.bz2"),
    (rb"\xfd7zXZ", "packed by xz; name it .csv.xz"),
    (rb"\x28\xb5\x2f\xfd", "packed by zstd; unpack it first"),
    (rb"PK\x03\x04", "a zip archive or a workbook; save it as CSV"),
    (rb"SQLite format 3\0", "a database; export the table as CSV"),
)
_CONTROL = re.compile(rb"[\x80-\x9f]")  # letters in windows-1252 only
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
        if error.errno in (errno.ENOENT, errno.ELOOP) and path.is_symlink():
            raise DataError(
                f"{path}: is a link to {path.readlink()} that leads to no file; mend it"
            ) from None
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
        The encoding of a file that is not UTF-8, one of ISO 8859; by default it is refused.

    Raises
    ------
    DataError
        Naming file and row, for what is no file, packed in another way than its name says, not
        text, or not UTF-8.
    """
    content = _content(path)
    for magic, what in _MAGIC:
        if re.match(magic, content):
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
        byte = f"byte 0x{content[error.start]:02x}"
        what = f"not UTF-8 ({byte})"
        if otherwise is not None:
            if (control := _CONTROL.search(content)) is None:
                return content.decode(otherwise)
            row = _line(content, control.start())
            what = f"neither UTF-8 ({byte}) nor {otherwise} (row {row}, byte 0x{control[0][0]:02x})"
        row = _line(content, error.start)
        raise DataError(f"{path}, row {row}: {what}; save the file as UTF-8") from None


def _content(path: Path) -> bytes:
    check_regular(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if path.suffix not in _STREAMS:
        return content
    parts = []
    try:
        # The functions of the library end without a word at what is no stream.
        while content:
            stream = _STREAMS[path.suffix]()
            parts.append(stream.decompress(content))
            if not stream.eof:
                raise EOFError("ends within a stream")
            content = stream.unused_data
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{path}: not a whole {path.suffix} file ({error}); pack it again"
        ) from None
    return b"".join(parts)


def _line(content: bytes, place: int) -> int:
    """The line of a byte, from 1; lines end in LF, CR LF or CR."""
    before = content[:place]
    return 1 + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
