"""The operator's key: made once, complete, private; signatures that verify."""

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from shared.errors import ConfigError
from shared.privacy.keys import (
    is_signed_by,
    key_path,
    load_or_create_signing_key,
    public_hex,
    sign,
    trusted_public_key,
)


def test_made_at_first_use_and_kept(tmp_path: Path) -> None:
    assert trusted_public_key(tmp_path) is None
    key = load_or_create_signing_key(tmp_path)
    assert public_hex(load_or_create_signing_key(tmp_path)) == public_hex(key)
    assert trusted_public_key(tmp_path) == public_hex(key)
    assert key_path(tmp_path).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in key_path(tmp_path).parent.iterdir()] == ["ledger.pem"]


def test_home_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARLING_HOME", str(tmp_path))
    assert key_path() == tmp_path / "keys" / "ledger.pem"


def test_two_at_once_get_the_same_key(tmp_path: Path) -> None:
    start, found = threading.Barrier(8), []

    def create() -> None:
        start.wait()
        found.append(public_hex(load_or_create_signing_key(tmp_path)))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_signatures(tmp_path: Path) -> None:
    key = load_or_create_signing_key(tmp_path / "a")
    other = load_or_create_signing_key(tmp_path / "b")
    signature = sign(key, b"message")
    assert is_signed_by(public_hex(key), b"message", signature)
    assert not is_signed_by(public_hex(key), b"massage", signature)
    assert not is_signed_by(public_hex(other), b"message", signature)
    capitals = (public_hex(key), signature.upper())
    for public, signed in [("", signature), ("zz", signature), (public_hex(key), "00"), capitals]:
        assert not is_signed_by(public, b"message", signed)


def test_refuses_a_key_that_others_can_read(tmp_path: Path) -> None:
    load_or_create_signing_key(tmp_path)
    key_path(tmp_path).chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_or_create_signing_key(tmp_path)


def test_refuses_what_is_no_key(tmp_path: Path) -> None:
    path = key_path(tmp_path)
    path.parent.mkdir(parents=True)
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content, word in [(b"hello", "not an unencrypted PEM"), (pem, "not an Ed25519 key")]:
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ConfigError, match=word):
            load_or_create_signing_key(tmp_path)


def test_a_home_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="STARLING_HOME"):
        load_or_create_signing_key(tmp_path / "file")
