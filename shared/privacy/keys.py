"""Ed25519 keys: the operator's signs what a ledger ended with, a device's its part in sums."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

import platformdirs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from shared.errors import ConfigError
from shared.files import read_file


def key_path(home: Path | None = None) -> Path:
    """Where the signing key lies: `keys/ledger.pem` under the given or the operator's home.

    Parameters
    ----------
    home : Path, optional
        Default: $STARLING_HOME, else the user's configuration folder.
    """
    chosen = home or os.environ.get("STARLING_HOME") or platformdirs.user_config_dir("starling")
    return Path(chosen) / "keys" / "ledger.pem"


def load_or_create_signing_key(home: Path | None = None) -> Ed25519PrivateKey:
    """The operator's key, made at first use.

    The file appears complete or not at all, readable by its owner only; of two processes that
    create it at the same time both get the same key.

    Raises
    ------
    ConfigError
        If the file cannot be read or written, is not an Ed25519 key, or others may read it.
    """
    return kept_key(key_path(home), "set STARLING_HOME")


def kept_key(path: Path, otherwise: str) -> Ed25519PrivateKey:
    """The key in a file, made if there is none; `otherwise` says what to do where that fails.

    Errors as for `load_or_create_signing_key`.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: signing key: is a folder; move it away")
    try:
        if not path.exists():
            _create(path)
        return _load(path)
    except OSError as error:
        raise ConfigError(f"{path}: signing key: {error.strerror}; {otherwise}") from None


def trusted_public_key(home: Path | None = None) -> str | None:
    """The public half of the operator's key as hexadecimal, or None if there is no key yet.

    Raises
    ------
    ConfigError
        As for `load_or_create_signing_key`.
    """
    if not key_path(home).exists():
        return None
    return public_hex(load_or_create_signing_key(home))


def public_hex(key: Ed25519PrivateKey) -> str:
    """The public key: 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def sign(key: Ed25519PrivateKey, message: bytes) -> str:
    """The signature: 128 hexadecimal digits."""
    return key.sign(message).hex()


def is_signed_by(public_key: str, message: bytes, signature: str) -> bool:
    """Whether the signature over the message is by this key; False also for malformed input.

    Parameters
    ----------
    public_key, signature : str
        Hexadecimal; of the signature in small letters alone, or an edit of it would go unnoticed.
    """
    try:
        if bytes.fromhex(signature).hex() != signature:
            return False
        known = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        known.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        # A link fails where a rename would replace the key that another process just made.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _load(path: Path) -> Ed25519PrivateKey:
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: signing key can be read by others; run chmod 600 on it")
    try:
        key = load_pem_private_key(read_file(path), password=None)
    except (ValueError, TypeError):
        raise ConfigError(f"{path}: not an unencrypted PEM private key; move it away") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: not an Ed25519 key; move it away")
    return key
