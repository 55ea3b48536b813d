"""One-time tokens: kept as hashes, each good for one node and until a day.

`invitations/HASH` holds when a token expires; once used it is called `HASH.used`. A file is renamed
by one process and no second: that is what makes a token good for one node.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.errors import StarlingError
from shared.files import write_once

DAYS = 14
_BYTES = 32


class Refused(StarlingError):
    """A token that admits nobody."""


def issue(folder: Path, days: float = DAYS) -> tuple[str, str]:
    """A new token, and until when it is good (UTC, ISO 8601)."""
    token = secrets.token_hex(_BYTES)
    expires = (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")
    write_once(folder / _hashed(token), expires)
    return token, expires


@contextmanager
def used_up(folder: Path, token: str) -> Iterator[None]:
    """Use a token up for what happens inside; if that fails it is good as before.

    Raises
    ------
    Refused
        If it is unknown, was used or has expired.
    """
    kept = folder / _hashed(token)
    used = kept.with_name(f"{kept.name}.used")
    try:
        expires = datetime.fromisoformat(kept.read_text())
    except (OSError, ValueError):
        why = "was used already" if used.exists() else "is not known here"
        raise Refused(f"the invitation {why}; ask the operator for another") from None
    if datetime.now(UTC) >= expires:
        raise Refused(f"the invitation expired at {expires.isoformat()}; ask for another")
    try:
        kept.rename(used)
    except OSError:
        raise Refused("the invitation was used already; ask the operator for another") from None
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            used.rename(kept)
        raise


def counted(folder: Path) -> tuple[int, int]:
    """How many tokens are still good for a node, and how many were used."""
    names = [each.name for each in folder.iterdir() if not each.name.startswith(".")]
    used = sum(name.endswith(".used") for name in names)
    return len(names) - used, used


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
