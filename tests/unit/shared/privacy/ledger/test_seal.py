"""The seal: nothing under it can be altered, nor moved to another file or folder."""

import json
import math

import pytest

from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.ledger.seal import digests, seal_problems, sealed_files, signer, write_sealed


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "a").write_bytes(b"weights")
    key = load_or_create_signing_key(tmp_path / "home")
    files = digests(tmp_path, [tmp_path / "adapters" / "a", tmp_path / "none"])
    write_sealed(tmp_path / "r.json", {"epsilon": math.inf, "seal": "old"}, files, key)
    return tmp_path / "r.json"


def problems(file):
    return seal_problems(file, json.loads(file.read_text()), file.parent)


def test_vouches_for_claims_and_files(sealed):
    tree = json.loads(sealed.read_text())
    assert problems(sealed) == []
    assert tree["epsilon"] == "inf"
    assert list(sealed_files(tree)) == ["adapters/a"]
    assert signer(tree) == public_hex(load_or_create_signing_key(sealed.parent / "home"))


def test_every_bit_counts(sealed):
    text = sealed.read_bytes()
    for place in range(len(text)):
        for bit in (0, 5):
            edited = bytearray(text)
            edited[place] ^= 1 << bit
            sealed.write_bytes(edited)
            try:
                tree = json.loads(sealed.read_text())
            except ValueError:
                continue
            assert not isinstance(tree, dict) or problems(sealed), (place, bit)


def test_a_signature_is_of_one_file(sealed):
    other = sealed.with_name("other.json")
    other.write_bytes(sealed.read_bytes())
    assert problems(other) == ["other.json: edited after it was sealed"]


def test_a_file_is_the_plain_one_that_was_sealed(sealed):
    file = sealed.parent / "adapters" / "a"
    file.write_bytes(b"Weights")
    assert problems(sealed) == ["adapters/a: not the file that was sealed: replaced or edited"]
    file.unlink()
    assert problems(sealed) == ["'adapters/a': sealed, but missing"]
    file.symlink_to(sealed)
    assert "a link" in problems(sealed)[0]
