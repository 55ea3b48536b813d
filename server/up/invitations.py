"""Who was invited and who came: one-time tokens, kept as hashes, and the nodes that used them.

`invitations/HASH` says when a token expires. `HASH.used` is made once, by the first key that the
token is shown with, before that is registered: from then on the token is that key's. So a node
whose answer was lost asks again and is told the same number, and no other key is let in. The
record says which node it became, and when it was revoked if it was.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.errors import ConfigError, ProtocolError, StarlingError
from shared.files import FolderLock, read_record, write_atomically, write_once

DAYS = 14
_BYTES = 32
_NAME = 12  # letters of a hash by which an operator knows an invitation
_USED = ".used"


class Refused(StarlingError):
    """A token that admits nobody."""


@dataclass(frozen=True)
class Enrolled:
    """What became of an invitation.

    Attributes
    ----------
    name : str
        By which the operator knows it: the beginning of its token's hash.
    key : str
        The public key (PEM) that it is used up for; empty: revoked before anybody came.
    node : int or None
        The number that the SuperLink knows that key by; None: it is not known to be registered.
    revoked : str or None
        Since when (UTC, ISO 8601).
    """

    name: str
    key: str
    node: int | None = None
    revoked: str | None = None


def issue(folder: Path, days: float = DAYS) -> tuple[str, str]:
    """A new token, and until when it is good (UTC, ISO 8601)."""
    token = secrets.token_hex(_BYTES)
    expires = (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")
    write_once(folder / _hashed(token), expires)
    return token, expires


def named(token: str) -> str:
    """The name by which an operator knows a token's invitation."""
    return _hashed(token)[:_NAME]


def admit(folder: Path, token: str, key: str, register: Callable[[str], int]) -> int:
    """The number of a token's node: of a new one, or again of the one that asked before.

    Parameters
    ----------
    folder : Path
    token : str
    key : str
        The node's public key (PEM).
    register : callable
        Makes a key known to the SuperLink and says its number; where it is known already, the same.

    Raises
    ------
    Refused
        If the token is unknown, another key's, expired or revoked.
    ProtocolError
        If the key is another invitation's.
    EngineError
        As `register`: the token stays this key's.
    """
    with FolderLock(folder) as lock:
        lock.take(wait=True)
        file = folder / f"{_hashed(token)}{_USED}"
        if not file.exists():
            _check_good(folder / _hashed(token))
            if any(each.key == key for each in enrolled(folder)):
                raise ProtocolError("key: is registered already")
            _write(file, Enrolled(named(token), key))
        found = _read(file)
        if found.revoked is not None:
            raise Refused(f"the invitation was revoked at {found.revoked}; ask the operator")
        if found.key != key:
            raise Refused("the invitation was used already; ask the operator for another")
        if found.node is not None:
            return found.node
        try:
            number = register(key)
        except ProtocolError:
            file.unlink()  # it is good as before
            raise
        _write(file, replace(found, node=number))
        return number


def revoke(folder: Path, which: str) -> Enrolled:
    """Let an invitation's node in no more, or nobody if none came; what is known of it.

    Parameters
    ----------
    folder : Path
    which : str
        The invitation's name, or the number of its node.

    Raises
    ------
    ConfigError
        If there is none, or it was revoked before.
    """
    with FolderLock(folder) as lock:
        lock.take(wait=True)
        files = {each.name[:_NAME]: each for each in _tokens(folder)}
        by_number = {str(each.node): each.name for each in enrolled(folder) if each.node}
        token = files.get(by_number.get(which, which))
        if token is None:
            raise ConfigError(
                f"{which!r}: no invitation's name and no node's number; starling server status "
                "lists both"
            )
        file = token.with_name(f"{token.name}{_USED}")
        found = _read(file) if file.exists() else Enrolled(token.name[:_NAME], "")
        if found.revoked is not None:
            raise ConfigError(f"{which}: was revoked at {found.revoked} already")
        gone = replace(found, revoked=datetime.now(UTC).isoformat(timespec="seconds"))
        _write(file, gone)
        return gone


def enrolled(folder: Path) -> list[Enrolled]:
    """What became of each invitation that is no longer open."""
    return [_read(each) for each in sorted(folder.glob(f"[0-9a-f]*{_USED}"))]


def left(folder: Path) -> int:
    """How many tokens nobody used yet; those that have expired are among them."""
    return sum(not each.with_name(f"{each.name}{_USED}").exists() for each in _tokens(folder))


def _check_good(token: Path) -> None:
    try:
        expires = datetime.fromisoformat(token.read_text())
    except (OSError, ValueError):
        raise Refused("the invitation is not known here; ask the operator for another") from None
    if datetime.now(UTC) >= expires:
        raise Refused(f"the invitation expired at {expires.isoformat()}; ask for another")


def _tokens(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if len(each.name) == 2 * _BYTES]


def _read(file: Path) -> Enrolled:
    found = read_record(file, ("name", "key", "node", "revoked"))
    return Enrolled(**{name: found[name] for name in ("name", "key", "node", "revoked")})


def _write(file: Path, record: Enrolled) -> None:
    write_atomically(file, json.dumps(asdict(record)))


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
