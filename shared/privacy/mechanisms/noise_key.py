"""The secret that correlated noise is made from, kept so that it can be made again.

A server that restarts must go on with the very rows it had: its next release cancels part of the
noise of the earlier ones. So this key, unlike that of independent noise, outlives the process. It
belongs to one ledger; whoever reads it can subtract all noise of that run.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from shared.errors import ConfigError, LedgerError
from shared.files import sync_folder

_BYTES = 32


def kept_key(file: Path, ledger: str, *, spent: bool) -> bytes:
    """The key of a ledger's noise, made if none of its noise was used yet.

    Parameters
    ----------
    file : Path
        Its folder must exist. Readable by its owner only.
    ledger : str
        `LedgerHeader.identity`: another ledger's key is not this one's.
    spent : bool
        Whether the ledger shows that noise may have been released already.

    Returns
    -------
    bytes
        32, from the operating system's generator.

    Raises
    ------
    LedgerError
        If the noise was used and its key is lost, damaged or another ledger's: with any other the
        releases to come would not go with those before.
    ConfigError
        If the file cannot be read or written, or others may read it.
    """
    try:
        key = _read(file, ledger)
        if key is not None:
            return key
        if spent:
            raise LedgerError(
                f"{file}: the noise key of this ledger is missing or another's; its correlated "
                "noise cannot go on. Restore it, or start a new run"
            )
        return _made(file, ledger)
    except OSError as error:
        raise ConfigError(f"{file}: noise key: {error.strerror}") from None


def _read(file: Path, ledger: str) -> bytes | None:
    """The key, if the file holds this ledger's."""
    if not file.exists():
        return None
    if file.stat().st_mode & 0o077:
        raise ConfigError(f"{file}: noise key can be read by others; run chmod 600 on it")
    try:
        held = json.loads(file.read_bytes())
        key = bytes.fromhex(held["key"])
        return key if held["ledger"] == ledger and len(key) == _BYTES else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _made(file: Path, ledger: str) -> bytes:
    key = os.urandom(_BYTES)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(json.dumps({"ledger": ledger, "key": key.hex()}))
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    sync_folder(file.parent)
    return key
