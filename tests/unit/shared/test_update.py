"""Updates add up, and are refused when they are not what was asked for."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.errors import ProtocolError
from shared.secagg.ring import Ring
from shared.update import Update, summed

ONE = Update(np.array([0.6, 0.8], dtype=np.float32), weight=1.0, norm=1.0, schema="s")


def test_sums() -> None:
    half = Update(np.array([0.3, 0.0], dtype=np.float32), weight=2.0, norm=0.3, schema="s")
    total = ONE + half
    np.testing.assert_allclose(total.vector, [0.9, 0.8], rtol=1e-6)
    assert (total.weight, total.norm, total.schema) == (3.0, 1.0, "s")
    same = Update.zero(2, "s") + ONE
    assert np.array_equal(same.vector, ONE.vector)
    assert (same.weight, same.norm) == (1.0, 1.0)
    assert same.vector.dtype == np.float32


@pytest.mark.parametrize(
    "other", [replace(ONE, schema="t"), replace(ONE, vector=np.zeros(3, dtype=np.float32))]
)
def test_does_not_add_another_schema_or_shape(other: Update) -> None:
    with pytest.raises(ProtocolError, match="cannot add"):
        ONE + other


def test_a_sound_update_passes() -> None:
    ONE.check("s", 2)
    ONE.check("s", 2, clip_norm=1.0)
    (ONE + ONE).check("s", 2, clip_norm=1.0)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"schema": "t"}, "schema"),
        ({"vector": np.zeros(3, dtype=np.float32)}, "shape"),
        ({"vector": np.zeros(2)}, "expected float32"),
        ({"vector": np.array([0.1, math.nan], dtype=np.float32)}, "not finite"),
        ({"vector": np.array([0.1, math.inf], dtype=np.float32)}, "not finite"),
        ({"weight": 0.0}, "weight"),
        ({"weight": math.inf}, "weight"),
        ({"weight": math.nan}, "weight"),
        ({"norm": math.nan}, "norm"),
        ({"norm": -0.1}, "norm"),
        ({"norm": 1.1}, "at most"),
        ({"vector": np.array([0.6, 0.9], dtype=np.float32)}, "at most"),
        ({"weight": 0.5}, "at most"),
    ],
)
def test_refuses(changed: dict[str, Any], word: str) -> None:
    with pytest.raises(ProtocolError, match=word):
        replace(ONE, **changed).check("s", 2, clip_norm=1.0)


def test_no_number_of_an_update_is_told():
    """The text goes into a server's log."""
    secret = Update(np.array([0.731, 0.9], np.float32), 1.0, 0.4242, "s", bits=0.5)
    for changed in ({"norm": 4.242}, {"bits": 7.25}, {"weight": 0.125}, {}):
        with pytest.raises(ProtocolError) as caught:
            replace(secret, **changed).check("s", 2, clip_norm=1.0)
        assert not re.search("731|4242|4.242|7.25|125|1.15", str(caught.value))


def ring_update(*numbers, bits=20, **fields):
    vector = Ring(bits).reduce(np.array(numbers))
    return Update(
        **{"vector": vector, "weight": 1.0, "norm": 0.0, "schema": "s", **fields}, ring=bits
    )


def test_in_a_ring_sums_wrap_and_are_exact():
    total = ring_update(2**19 - 1, -3) + ring_update(5, 1)
    assert Ring(20).centred(total.vector).tolist() == [-(2**19) + 4, -2]
    assert total.weight == 2
    total.check("s", 2, None, Ring(20))


@pytest.mark.parametrize(
    ("update", "words"),
    [
        (ring_update(1, 2, bits=21), "update in another ring: expected 20"),
        (Update(np.ones(2, np.float32), 1.0, 1.0, "s"), "update in another ring: expected 20"),
        (ring_update(1, 2, vector=np.ones(2, np.float32)), "expected uint32"),
        (ring_update(1, 2, vector=np.full(2, 2**20, np.uint32)), "numbers of more than 20 bits"),
        (ring_update(1), "expected uint32"),
        (ring_update(1, 2, schema="t"), "another schema: expected s"),
        (ring_update(1, 2, weight=0.0), "weight"),
    ],
)
def test_what_is_no_message_of_the_ring_is_refused(update, words):
    with pytest.raises(ProtocolError, match=words):
        update.check("s", 2, None, Ring(20))


def test_elements_of_a_ring_are_not_taken_for_real_numbers():
    with pytest.raises(ProtocolError, match="update in another ring: expected none"):
        ring_update(1, 2).check("s", 2)
    with pytest.raises(ProtocolError, match="cannot add"):
        ring_update(1, 2) + ring_update(1, 2, bits=21)


def test_members_are_joined_as_their_updates_are():
    members, total = summed((([1], ring_update(1)), ([4, 2], ring_update(2, weight=2.0))))
    assert members == [1, 4, 2]
    assert (total.weight, total.vector.tolist()) == (3.0, [3])
