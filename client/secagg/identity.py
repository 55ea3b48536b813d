"""Who a device is to the others in a secure sum, and whom of them it takes part with.

A device's identity is an Ed25519 key in its state folder. Its owner may name the identities that
there are (a roster: the public keys, one a line); without one whoever the server names counts, and
devices that a server made up can only be told by the people who own real ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import ConfigError
from shared.files import read_file
from shared.privacy.keys import kept_key

IDENTITY = "identity.pem"
Trusted = Callable[[int, bytes], bool]


def identity_of(state: Path) -> Ed25519PrivateKey:
    """The identity of a device, made at its first use.

    Parameters
    ----------
    state : Path
        The device's folder; must exist.

    Raises
    ------
    ConfigError
        If the file cannot be used, or others may read it.
    """
    return kept_key(state / IDENTITY, "a device keeps its identity there")


def simulated_identity(key: int) -> Ed25519PrivateKey:
    """Of a simulated person: anybody can compute it."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"virtual {key}".encode()).digest())


def anybody(node: int, identity: bytes) -> bool:
    """Whoever the server names."""
    return True


def roster(file: Path) -> Trusted:
    """Those whose public keys are in a file, 64 hexadecimal digits a line; `#` begins a remark.

    Raises
    ------
    ConfigError
        If it cannot be read, a line is none, or there are fewer than two.
    """
    try:
        lines = read_file(file).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: roster: cannot be read ({error})") from None
    known = set()
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].strip().lower()
        if not words:
            continue
        if not re.fullmatch(r"[0-9a-f]{64}", words):
            raise ConfigError(
                f"{file}: line {number}: expected a device's public key, 64 hex digits, as "
                "starling client identity prints it"
            )
        known.add(bytes.fromhex(words))
    if len(known) < 2:
        raise ConfigError(f"{file}: roster of {len(known)} devices: expected at least 2")
    return lambda node, identity: identity in known
