"""Windows: an interaction is a target at most once, after what came before; the bound holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data.windows import PAD, START, context_window, windows

HISTORIES = st.lists(st.integers(0, 10_000), max_size=120, unique=True).map(
    lambda items: np.array(items, dtype=np.int64)
)
LENGTHS = st.integers(1, 20)
COUNTS = st.integers(1, 6)


@given(HISTORIES, LENGTHS, COUNTS)
def test_targets_are_the_most_recent_interactions_once_each(
    history: np.ndarray, length: int, count: int
) -> None:
    cut = windows(history, length, count)
    targets = cut.targets[cut.targets != PAD]  # rows oldest first, so in order
    kept = min(len(history), length * count)  # the contribution bound
    assert targets.tolist() == history[len(history) - kept :].tolist()
    assert cut.inputs.shape == cut.targets.shape == (len(cut), length)
    assert len(cut) == -(-kept // length) <= count
    assert cut.inputs.dtype == cut.targets.dtype == np.int64


@given(HISTORIES, LENGTHS, COUNTS)
def test_every_input_is_what_came_just_before_its_target(
    history: np.ndarray, length: int, count: int
) -> None:
    before = dict(zip(history.tolist(), [START, *history.tolist()], strict=False))
    cut = windows(history, length, count)
    for given_input, target in zip(cut.inputs.ravel(), cut.targets.ravel(), strict=True):
        assert given_input == (START if target == PAD else before[int(target)])


@given(HISTORIES, LENGTHS, COUNTS)
def test_only_the_oldest_window_is_padded_and_only_on_its_right(
    history: np.ndarray, length: int, count: int
) -> None:
    padded = windows(history, length, count).targets == PAD
    assert not padded[1:].any()
    if len(padded):
        assert not padded[0, 0]
        assert (np.diff(padded[0].astype(int)) >= 0).all()


@given(HISTORIES, LENGTHS)
def test_enough_windows_leave_nothing_out(history: np.ndarray, length: int) -> None:
    cut = windows(history, length, len(history) + 1)
    assert (cut.targets != PAD).sum() == len(history)


@given(HISTORIES, LENGTHS)
def test_the_context_is_the_end_of_start_and_history(history: np.ndarray, length: int) -> None:
    context = context_window(history, length)
    assert context.dtype == np.int64
    assert context.tolist() == [START, *history.tolist()][-length:]


@given(HISTORIES.filter(len), st.integers(1, 20))
def test_the_last_training_input_is_the_context_of_the_last_item(
    history: np.ndarray, length: int
) -> None:
    """Training and serving agree on what precedes an item."""
    cut = windows(history, length, 1)
    seen = cut.inputs[-1][cut.targets[-1] != PAD]
    assert seen.tolist() == context_window(history[:-1], length)[-len(seen) :].tolist()


def test_inputs_are_new_arrays() -> None:
    history = np.arange(6)
    history.flags.writeable = False
    cut = windows(history, 3, 2)
    cut.inputs[:] = cut.targets[:] = 0
    context_window(history, 4)[:] = 0
    assert history.tolist() == list(range(6))


@pytest.mark.parametrize(("length", "count"), [(0, 1), (1, 0), (-1, 1)])
def test_sizes_below_one_are_refused(length: int, count: int) -> None:
    with pytest.raises(ValueError, match="max_length="):
        windows(np.arange(3), length, count)
    if length < 1:
        with pytest.raises(ValueError, match="max_length="):
            context_window(np.arange(3), length)
