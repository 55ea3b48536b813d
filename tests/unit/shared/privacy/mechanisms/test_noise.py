"""Keys, nonces and the mapping from keystream to numbers; the distribution is tested elsewhere."""

import os

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from scipy.stats import norm

from shared.errors import ConfigError
from shared.privacy.mechanisms.source import NoiseSource


def test_the_numbers_are_the_keystream_through_the_quantile_function() -> None:
    key = bytes(range(32))
    source = NoiseSource(key, is_secure=False)
    source.normal(3)  # the second call has nonce 1
    drawn = source.normal(50)
    nonce = bytes(4) + (1).to_bytes(12, "little")
    stream = Cipher(ChaCha20(key, nonce), mode=None).encryptor().update(bytes(400))
    for number, k in zip(drawn, range(0, 400, 8), strict=True):
        word = int.from_bytes(stream[k : k + 8], "little")
        uniform = ((word >> 11) + 0.5) / 2**54
        expected = norm.ppf(uniform) * (1 if word & 1 else -1)
        assert number == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("byte", [0x00, 0x01, 0xFE, 0xFF])
def test_extreme_keystreams_give_finite_numbers(byte: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoiseSource, "_keystream", lambda self, length: bytes([byte]) * length)
    drawn = NoiseSource.seeded(0).normal(4)
    assert np.isfinite(drawn).all()
    assert np.abs(drawn).max() < 8.5


def test_seeded_is_reproducible_and_says_so() -> None:
    first, second = NoiseSource.seeded(7, "update", 3), NoiseSource.seeded(7, "update", 3)
    assert np.array_equal(first.normal(100), second.normal(100))
    assert not first.is_secure


@pytest.mark.parametrize(
    "other",
    [
        NoiseSource.seeded(8, "update", 3),
        NoiseSource.seeded(7, "update", 4),
        NoiseSource.seeded(7, "histogram", 3),
        NoiseSource.seeded(7, "update", "3"),
        NoiseSource.seeded(7, "update,3"),
        NoiseSource.seeded(7),
    ],
)
def test_other_contexts_give_other_noise(other: NoiseSource) -> None:
    assert not np.isin(NoiseSource.seeded(7, "update", 3).normal(100), other.normal(100)).any()


def test_no_keystream_serves_twice() -> None:
    source = NoiseSource.seeded(1)
    drawn = np.concatenate([source.normal(1000) for _ in range(20)])
    assert np.unique(drawn).size == drawn.size


def test_secure_sources_differ() -> None:
    first, second = NoiseSource.secure(), NoiseSource.secure()
    assert first.is_secure
    assert not np.isin(first.normal(100), second.normal(100)).any()


def test_a_forked_process_draws_noise_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    child = NoiseSource(bytes(32), is_secure=True)
    parent = NoiseSource(bytes(32), is_secure=True).normal(100)
    monkeypatch.setattr(os, "getpid", lambda: -1)  # what the child of a fork would see
    assert not np.isin(child.normal(100), parent).any()


def test_sizes() -> None:
    source = NoiseSource.seeded(0)
    assert source.normal(0).shape == (0,)
    assert source.normal(5).dtype == np.float64
    for size in (-1, 2**36):
        with pytest.raises(ConfigError, match="size"):
            source.normal(size)
