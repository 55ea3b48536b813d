"""Files that a crash leaves whole: the old content or the new one, never a part."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(file: Path, content: bytes | str) -> None:
    """Replace a file's content; when this returns it is on disk.

    Parameters
    ----------
    file : Path
        Its folder must exist.
    content : bytes or str
        Text is written as UTF-8.
    """
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name itself
    finally:
        os.close(folder)
