"""Updates add up, and are refused when they are not what was asked for."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.errors import ProtocolError
from shared.update import Update

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
        ({"vector": np.zeros(2)}, "float64"),
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
