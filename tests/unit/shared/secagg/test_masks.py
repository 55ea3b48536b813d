"""Masks: what they are made of, and that nothing shows through them."""

import os

import numpy as np
import pytest
from Crypto.Protocol.SecretSharing import Shamir
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from scipy.stats import chi2

from shared.errors import SpoiledShares
from shared.secagg import keys, shamir
from shared.secagg.aggregator import _joined
from shared.secagg.participant import Participant
from tests.support.privacy.cohorts import Cohort, identity, session

FALSE_ALARM = 1e-6


@pytest.mark.parametrize("dim", [1, 7, 8191, 32_768, 32_769, 131_073])
@pytest.mark.parametrize("words", ["<u1", "<u2", "<u4", "<u8"])
def test_a_mask_is_the_stream_of_a_cipher(words, dim):
    key = bytes(range(32))
    size = np.dtype(words).itemsize
    stream = Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(dim * size))
    mask = np.frombuffer(stream, words)
    values = np.arange(dim).astype(words)
    total = values.copy()
    keys.add_mask(total, key, 1)
    assert np.array_equal(total, values + mask)
    keys.add_mask(total, key, -1)
    assert np.array_equal(total, values)


@pytest.mark.statistical
@pytest.mark.parametrize("bits", [8, 12, 20, 33])
@pytest.mark.parametrize("content", ["zeros", "largest"])
def test_masked_messages_look_uniform(bits, content):
    """Chi-square of the low and high 6 bits: 48 tests, false-alarm rate 3.4e-7 each, 1.6e-5 all."""
    about = session(bits=bits, dim=20_000)
    cohort = Cohort(about, [1, 2, 3])
    plain = 0 if content == "zeros" else 2**bits - 1
    for node in cohort.nodes:
        cohort.values[node][:] = plain
    cohort.run("agree")
    for masked in cohort.replies["mask"].values():
        assert masked.max() < 2**bits
        for part in (masked & 63, masked >> (bits - 6)):
            assert uniform(part.astype(np.int64)) > FALSE_ALARM / 3
    assert np.array_equal(plain_sum(cohort), cohort.plain())


def plain_sum(cohort):
    for stage in ("agree", "reveal"):
        cohort.step(stage)
    return cohort.aggregator.total(cohort.replies["reveal"])


def uniform(part, classes=64):
    """Chance that uniform numbers are as uneven as these."""
    counts, expected = np.bincount(part, minlength=classes), len(part) / classes
    return chi2.sf(((counts - expected) ** 2 / expected).sum(), classes - 1)


def test_unmasked_messages_do_not_look_uniform(monkeypatch):
    """Without its own mask and with masks that all are alike, what a device sends shows."""
    monkeypatch.setattr(keys, "add_mask", lambda total, key, sign: None)
    cohort = Cohort(session(bits=12, dim=20_000), [1, 2, 3])
    for node in cohort.nodes:
        cohort.values[node][:] = 5
    cohort.run("agree")
    assert uniform(cohort.replies["mask"][1].astype(np.int64) & 63) < FALSE_ALARM


def test_nobody_has_the_masks_of_another_round():
    """Same devices, same contributions: no key or message of two sessions is the same."""
    one, other = (Cohort(session(nonce=bytes([n] * 16)), [1, 2, 3]) for n in (1, 2))
    for cohort in (one, other):
        cohort.run()
    for stage in ("advertise", "share", "agree", "reveal"):
        pair = (set(cohort.replies[stage].values()) for cohort in (one, other))
        assert set.isdisjoint(*pair)
    assert not np.array_equal(one.replies["mask"][1], other.replies["mask"][1])


def test_session_and_purpose_part_keys():
    seed, found = bytes(16), set()
    for digest in (bytes(32), bytes([1] * 32)):
        found |= {
            keys.self_key(digest, seed),
            keys.pair_key(digest, seed, 1, 2),
            keys.pair_key(digest, seed, 1, 3),
            *keys.seal_keys(digest, seed, 1, 2),
            keys.mask_private(digest, seed).private_bytes_raw(),
            keys.commitment(digest, seed),
        }
    assert len(found) == 14
    assert keys.pair_key(bytes(32), seed, 1, 2) == keys.pair_key(bytes(32), seed, 2, 1)


def test_randomness_is_the_systems():
    device = Participant(session(), 1, identity(1), lambda node, shown: True)
    other = Participant(session(), 1, identity(1), lambda node, shown: True)
    assert device.advertise() != other.advertise()


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (2, 3), (5, 9), (11, 51), (40, 260)])
def test_shares_are_those_of_pycryptodome(threshold, count):
    secret = os.urandom(16)
    ours = dict(enumerate(shamir.split(secret, threshold, count, os.urandom), 1))
    some = {number: ours[number] for number in range(count - threshold + 1, count + 1)}
    assert shamir.join(some) == secret
    assert Shamir.combine(list(some.items())) == secret
    if count < 60:
        theirs = Shamir.split(threshold, count, secret)
        assert shamir.join(dict(theirs[-threshold:])) == secret


def test_coefficients_alone_decide_shares():
    """The polynomial is evaluated as pycryptodome does, with its coefficients."""
    drawn = bytes(range(48))
    shares = shamir.split(bytes([7] * 16), 4, 5, lambda count: drawn)
    with pytest.MonkeyPatch.context() as patch:
        parts = iter(drawn[n : n + 16] for n in range(0, 48, 16))
        patch.setattr("Crypto.Protocol.SecretSharing.rng", lambda count: next(parts))
        assert dict(Shamir.split(4, 5, bytes([7] * 16))) == dict(enumerate(shares, 1))


def test_too_few_shares_or_a_false_one_give_something_else():
    secret = os.urandom(16)
    shares = dict(enumerate(shamir.split(secret, 3, 4, os.urandom), 1))
    assert shamir.join({1: shares[1], 2: shares[2]}) != secret
    assert shamir.join({1: shares[1], 2: shares[2], 3: bytes(16)}) != secret


# Devices, false shares of one secret, threshold: as many as those in league may be, and more.
FALSE = [(5, (1,), 3), (10, (2, 7), 6), (51, (1, 12, 23, 34, 45), 11), (51, (1,), 11)]


@pytest.mark.parametrize(("holders", "false", "threshold"), FALSE)
def test_false_shares_are_met_and_named_and_the_secret_is_there(holders, false, threshold):
    seed = bytes(range(16))
    shares = dict(enumerate(shamir.split(seed, threshold, holders, os.urandom), 1))
    for number in false:
        shares[number] = os.urandom(16)
    found, met = _joined(shares, threshold, lambda each: each == seed)
    assert (found, met) == (seed, list(false))


def test_more_false_shares_than_true_ones_give_nothing():
    seed = bytes(range(16))
    shares = dict(enumerate(shamir.split(seed, 4, 7, os.urandom), 1))
    for number in range(1, 5):
        shares[number] = os.urandom(16)
    with pytest.raises(SpoiledShares, match="some are false"):
        _joined(shares, 4, lambda each: each == seed)
