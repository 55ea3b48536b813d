"""An operator's invitation to one node: where the server is, how it is known, a one-time token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from shared.canonical import canonical_json, read_json
from shared.errors import ConfigError
from shared.files import check_file
from shared.privacy.keys import is_signed_by, public_hex, sign

MOST_BYTES = 1 << 16
_CONTEXT = b"starling invitation\0"
_Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Invitation:
    """What a node needs to join.

    Attributes
    ----------
    address : str
        host:port of the server, over TLS: of its SuperLink and of its enrolment.
    authority : str
        The certificate (PEM) of the authority that the server's own is signed by, and no other.
    operator : str
        The public key whose policies and releases a device is to heed.
    catalogue : str
        Digest of the public items.
    token : str
        32 random bytes, hexadecimal: good for one node.
    expires : str
        Until when, UTC, ISO 8601.
    """

    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}:[0-9]{1,5}$")]
    authority: str
    operator: _Hex
    catalogue: _Hex
    token: _Hex
    expires: str


def signed_invitation(invitation: Invitation, key: Ed25519PrivateKey) -> str:
    """The text of an invitation's file."""
    content = asdict(invitation)
    if content["operator"] != public_hex(key):
        raise ConfigError("operator: the invitation is of another key than the one that signs it")
    return canonical_json({"content": content, "signature": sign(key, _message(content))}) + "\n"


def read_invitation(file: Path) -> Invitation:
    """An invitation that its own operator signed: whose it is, is for its reader to judge.

    Raises
    ------
    ConfigError
        If the file is missing, too long, none, or altered.
    """
    try:
        check_file(file)
        with file.open("rb") as stream:
            text = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{file}: not an invitation: it has more than {MOST_BYTES} bytes")
    try:
        tree = read_json(text)
        found = TypeAdapter(Invitation).validate_json(canonical_json(tree["content"]))
        signature = tree["signature"]
    except (ValueError, KeyError, TypeError, ValidationError):
        raise ConfigError(
            f"{file}: not an invitation; ask the operator for one (starling server invite)"
        ) from None
    if not is_signed_by(found.operator, _message(asdict(found)), signature):
        raise ConfigError(f"{file}: was altered; ask the operator for another invitation")
    return found


def _message(content: Mapping[str, Any]) -> bytes:
    return _CONTEXT + canonical_json(content).encode()
