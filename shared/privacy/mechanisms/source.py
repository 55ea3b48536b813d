"""Random words from a ChaCha20 keystream, normal numbers made of them, and a key that is kept."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray
from scipy.special import ndtri

from shared.errors import ConfigError, LedgerError
from shared.files import read_file, sync_folder

_WORD = 8  # bytes of keystream per number
# The block counter of ChaCha20 has 32 bits and a block 64 bytes; beyond this one nonce repeats.
_LARGEST_DRAW = 2**38 // _WORD
_KEY = 32  # bytes


class Normals(Protocol):
    """What a mechanism needs of its noise."""

    def normal(self, size: int) -> NDArray[np.float64]:
        """Standard normal numbers [size]; over rounds they may be correlated."""
        ...


class NoiseSource:
    """Noise that cannot be predicted without the key.

    Every call encrypts zeros under the same key and a nonce of its own, so no part of the
    keystream serves twice. For a normal number one bit of a 64-bit word is the sign and 53 bits are
    a uniform u in (0, 1/2], put through the inverse normal distribution function: |x| < 8.5.

    Use `NoiseSource.secure` wherever real people's data are protected, and `NoiseSource.seeded`
    only in simulations that must be reproducible.

    Notes
    -----
    Gaussian noise in floating point is an approximation: the set of numbers that `total + noise`
    can reach depends on `total`, and an adversary who sees every bit of a release can use that
    (Mironov 2012). It is used for the central trust model, where the server knows the sum without
    noise anyway; modes that do not trust the server need discrete noise on a fixed-point grid.

    References
    ----------
    Mironov. On significance of the least significant bits for differential privacy. CCS 2012.
    https://doi.org/10.1145/2382196.2382264
    """

    def __init__(self, key: bytes, *, is_secure: bool) -> None:
        self._key = key
        self._is_secure = is_secure
        self._process = os.getpid()
        self._calls = 0

    @classmethod
    def secure(cls) -> NoiseSource:
        """A source keyed by the operating system's generator; not reproducible."""
        return cls(os.urandom(_KEY), is_secure=True)

    @classmethod
    def seeded(cls, seed: int, *context: str | int) -> NoiseSource:
        """A reproducible source, for simulations only.

        Parameters
        ----------
        seed : int
            Of the whole simulated run.
        *context : str or int
            What the noise is for, e.g. `"update", 3`: other contexts give independent noise.
        """
        named = _named("starling noise", (seed, *context))
        return cls(hashlib.sha256(named).digest(), is_secure=False)

    @classmethod
    def kept(cls, key: bytes, *context: str | int) -> NoiseSource:
        """Noise that nobody without the key foretells, and that can be made again with it.

        Parameters
        ----------
        key : bytes
            At least 32, from the operating system's generator and kept secret.
        *context : str or int
            As for `seeded`.

        Raises
        ------
        ConfigError
            For a shorter key.
        """
        if len(key) < _KEY:
            raise ConfigError(f"noise key of {len(key)} bytes: expected at least {_KEY}")
        derive = HKDF(SHA256(), length=_KEY, salt=None, info=_named("starling kept noise", context))
        # Not "secure" in the sense of a fresh key: a forked process must repeat it.
        return cls(derive.derive(key), is_secure=False)

    @property
    def is_secure(self) -> bool:
        """Whether the key came from the operating system's generator."""
        return self._is_secure

    def normal(self, size: int) -> NDArray[np.float64]:
        """Independent standard normal numbers, different at every call.

        Parameters
        ----------
        size : int
            How many, from 0 to 2^35.

        Returns
        -------
        numpy.ndarray
            float64, [size].

        Raises
        ------
        ConfigError
            For a size outside its range.
        """
        words = self.words(size)
        uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-54  # in (0, 1/2]
        sign = np.where(words & np.uint64(1), 1.0, -1.0)
        drawn: NDArray[np.float64] = sign * ndtri(uniform)
        return drawn

    def words(self, size: int) -> NDArray[np.uint64]:
        """Independent uniform words, different at every call.

        Parameters
        ----------
        size : int
            How many, from 0 to 2^35.

        Returns
        -------
        numpy.ndarray
            uint64, [size].

        Raises
        ------
        ConfigError
            For a size outside its range.
        """
        if not 0 <= size <= _LARGEST_DRAW:
            raise ConfigError(f"size = {size}: expected 0 to {_LARGEST_DRAW} numbers per draw")
        drawn: NDArray[np.uint64] = np.frombuffer(self._keystream(size * _WORD), dtype="<u8")
        return drawn

    def _keystream(self, length: int) -> bytes:
        if self._is_secure and os.getpid() != self._process:
            # A forked process inherits the key and would repeat its parent's noise.
            self._key, self._process, self._calls = os.urandom(_KEY), os.getpid(), 0
        nonce = bytes(4) + self._calls.to_bytes(12, "little")  # block counter, then call counter
        self._calls += 1
        return Cipher(ChaCha20(self._key, nonce), mode=None).encryptor().update(bytes(length))


def _named(purpose: str, context: tuple[str | int, ...]) -> bytes:
    return json.dumps([purpose, *context], separators=(",", ":")).encode()


def kept_key(file: Path, ledger: str, *, spent: bool) -> bytes:
    """The key of a ledger's noise, made if none of its noise was used yet.

    A server that restarts must go on with the very rows it had: its next release cancels part of
    the noise of the earlier ones. So this key, unlike that of independent noise, outlives the
    process. It belongs to one ledger; whoever reads it can subtract all noise of that run.

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
        key = _read_key(file, ledger)
        if key is not None:
            return key
        if spent:
            raise LedgerError(
                f"{file}: the noise key of this ledger is missing or another's; its correlated "
                "noise cannot go on. Restore it, or start a new run"
            )
        return _make_key(file, ledger)
    except OSError as error:
        raise ConfigError(f"{file}: noise key: {error.strerror}") from None


def _read_key(file: Path, ledger: str) -> bytes | None:
    """The key, if the file holds this ledger's."""
    if not file.exists():
        return None
    if file.stat().st_mode & 0o077:
        raise ConfigError(f"{file}: noise key can be read by others; run chmod 600 on it")
    try:
        held = json.loads(read_file(file))
        key = bytes.fromhex(held["key"])
        return key if held["ledger"] == ledger and len(key) == _KEY else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _make_key(file: Path, ledger: str) -> bytes:
    key = os.urandom(_KEY)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(json.dumps({"ledger": ledger, "key": key.hex()}))
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    sync_folder(file.parent)
    return key
