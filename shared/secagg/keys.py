"""What the protocol uses of cryptography: signatures, agreed keys, seals, and masks from a stream.

Every key that is derived here is of one session and one purpose, and used once.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import ForgedSignature, SpoiledEnvelope
from shared.secagg.wire import number

KEY, SIGNATURE, TAG = 32, 64, 16  # bytes

_ADVERT, _SURVIVORS = b"starling sum: advert\0", b"starling sum: survivors\0"
_BLOCK = bytes(1 << 17)  # zeros to encrypt: what fits into a core's cache beside its stream


def advert_content(session: bytes, body: bytes) -> bytes:
    """What a device signs of its keys: a session's digest and the advert without signature."""
    return _ADVERT + session + body


def survivors_content(session: bytes, survivors: bytes) -> bytes:
    """What a device signs of the survivors: a session's digest and the whole message."""
    return _SURVIVORS + session + survivors


def verify(identity: bytes, signature: bytes, content: bytes, whose: str) -> None:
    """Check an Ed25519 signature.

    Raises
    ------
    ForgedSignature
        If it is not that of the identity.
    """
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, content)
    except (InvalidSignature, ValueError):
        raise ForgedSignature(f"signature of {whose} is not its identity's") from None


def public(private: X25519PrivateKey) -> bytes:
    """A public key as it travels: 32 bytes."""
    return private.public_key().public_bytes_raw()


def agreed(private: X25519PrivateKey, other: bytes) -> bytes:
    """The 32 bytes that two devices share, each from its own private key.

    Raises
    ------
    ForgedSignature
        If the other's key is none: it gives a shared secret of zero.
    """
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:
        raise ForgedSignature("a public key is none: nothing can be agreed on with it") from None


def mask_private(session: bytes, seed: bytes) -> X25519PrivateKey:
    """The private key that a 16-byte seed, which is what gets shared, stands for."""
    return X25519PrivateKey.from_private_bytes(_derive(seed, session, b"mask key", KEY))


def self_key(session: bytes, seed: bytes) -> bytes:
    """The key of the mask that a device adds for itself, of its 16-byte seed."""
    return _derive(seed, session, b"self mask", KEY)


def pair_key(session: bytes, secret: bytes, one: int, other: int) -> bytes:
    """The key of the mask that one of two nodes adds and the other takes off."""
    return _derive(secret, session, b"pair mask" + _pair(one, other), KEY)


def seal_keys(session: bytes, secret: bytes, one: int, other: int) -> tuple[bytes, bytes]:
    """The keys of what the lower node seals for the higher one, and of the other direction."""
    both = _derive(secret, session, b"envelope" + _pair(one, other), 2 * KEY)
    return both[:KEY], both[KEY:]


def commitment(session: bytes, seed: bytes) -> bytes:
    """SHA-256 that tells a device's 16-byte self-mask seed from any other."""
    return hashlib.sha256(b"starling sum: self mask\0" + session + seed).digest()


def seal(key: bytes, plain: bytes, bound: bytes) -> bytes:
    """Encrypt and authenticate under a key that is used this once (so the nonce is 0)."""
    return ChaCha20Poly1305(key).encrypt(bytes(12), plain, bound)


def unseal(key: bytes, sealed: bytes, bound: bytes, whose: str) -> bytes:
    """The reverse.

    Raises
    ------
    SpoiledEnvelope
        If it was not sealed under the key and for the same `bound`.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), sealed, bound)
    except InvalidTag:
        raise SpoiledEnvelope(f"envelope of {whose} was not sealed by it for this device") from None


def lanes(bits: int) -> np.dtype[np.unsignedinteger]:
    """The smallest words that hold elements of a ring; sums in them wrap modulo a multiple."""
    return np.dtype(next(f"<u{size}" for size in (1, 2, 4, 8) if bits <= 8 * size))


def add_mask(total: npt.NDArray[np.unsignedinteger], key: bytes, sign: int) -> None:
    """Add a mask to a sum in place, or take it off: AES-256 in counter mode, little-endian words.

    Parameters
    ----------
    total : numpy.ndarray
        [dim], of `lanes`.
    key : bytes
        32, used for this mask alone.
    sign : int
        1 or -1.
    """
    stream = Cipher(AES(key), CTR(bytes(16))).encryptor()
    step = len(_BLOCK) // total.itemsize
    buffer = np.empty(min(total.nbytes, len(_BLOCK)) + AES.block_size // 8, np.uint8)
    for start in range(0, len(total), step):
        part = total[start : start + step]
        stream.update_into(memoryview(_BLOCK)[: part.nbytes], buffer.data)
        mask = buffer[: part.nbytes].view(total.dtype)
        (np.add if sign > 0 else np.subtract)(part, mask, out=part)


def _pair(one: int, other: int) -> bytes:
    return number(min(one, other), 8) + number(max(one, other), 8)


def _derive(secret: bytes, session: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, session, b"starling sum: " + purpose).derive(secret)
