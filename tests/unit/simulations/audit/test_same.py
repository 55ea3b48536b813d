"""A run and the same settings run again: one adapter, or nothing is shown."""

import numpy as np
import pytest

from simulations.audit.replay.same import reproduced

START = {"a": np.zeros(4, np.float32), "b": np.zeros((2, 2), np.float32)}
MOVED = {"a": np.ones(4, np.float32), "b": np.ones((2, 2), np.float32)}


def nudged(by):
    return {name: of + np.float32(by) for name, of in MOVED.items()}


@pytest.mark.parametrize(
    ("released", "verdict"),
    [
        (MOVED, "holds"),
        (nudged(1e-3), "holds"),
        (nudged(0.05), "not shown"),
        ({"a": MOVED["a"]}, "not shown"),
        ({**MOVED, "b": np.ones((2, 3), np.float32)}, "not shown"),
        (START, "not shown"),
    ],
)
def test_only_what_the_settings_give_is_reproduced(released, verdict):
    assert reproduced(released, MOVED, START).verdict == verdict


def test_what_did_not_move_is_reproduced_by_itself_alone():
    assert reproduced(START, START, START).verdict == "holds"
    assert reproduced(MOVED, START, START).verdict == "not shown"
