"""What a user trains on in a round: within the bound, without anything held out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.training.batches import local_batches, user_windows
from shared.config import ExperimentConfig, from_dict
from shared.data.windows import PAD, START

LENGTH = 4


def settings(seed=0, **train) -> ExperimentConfig:
    train = {"max_windows": 3, **train}
    return from_dict({"model": {"max_length": LENGTH}, "train": train, "seed": seed})


def batches(history, config, round_number=1, user=0):
    history = np.asarray(history, dtype=np.int64)
    return local_batches(user_windows(history, config), config, round_number, user)


@given(st.integers(0, 40))
def test_nothing_held_out_is_ever_seen(n):
    history = np.arange(n)
    inputs, targets = batches(history, settings())
    held_out = set(history[-2:].tolist()) if n >= 3 else set()
    assert not held_out & (set(inputs.ravel().tolist()) | set(targets.ravel().tolist()))
    counted = targets[targets != PAD].tolist()
    assert len(counted) == len(set(counted)) <= 3 * LENGTH  # the contribution bound


def test_without_interactions_one_window_without_a_target_stands_in():
    inputs, targets = batches([], settings(local_steps=2, local_batch=2))
    assert inputs.shape == targets.shape == (2, 1, LENGTH)
    assert (inputs == START).all()
    assert (targets == PAD).all()


def test_one_interaction_trains_on_it_from_the_start():
    inputs, targets = batches([7], settings())
    assert inputs[0, 0].tolist() == [START] * LENGTH
    assert targets[0, 0].tolist() == [7, PAD, PAD, PAD]


def test_all_windows_are_taken_unless_a_batch_is_asked_for():
    inputs, _ = batches(range(14), settings(local_steps=2))
    assert inputs.shape == (2, 3, LENGTH)
    np.testing.assert_array_equal(inputs[0], inputs[1])
    some, _ = batches(range(14), settings(local_steps=5, local_batch=2))
    assert some.shape == (5, 2, LENGTH)
    every = inputs[0].tolist()
    for step in some.tolist():
        assert step[0] != step[1]
        assert step[0] in every
        assert step[1] in every
    assert len({str(step) for step in some.tolist()}) > 1  # steps differ


def test_depends_on_seed_round_and_user_alone():
    random = {"local_batch": 1, "local_steps": 6, "history_dropout": 0.5}
    config, reseeded = settings(**random), settings(seed=1, **random)
    first = batches(range(14), config, 3, 5)
    again = batches(range(14), config, 3, 5)
    np.testing.assert_array_equal(first[0], again[0])
    for other in (
        batches(range(14), config, 4, 5),
        batches(range(14), config, 3, 6),
        batches(range(14), reseeded, 3, 5),
    ):
        assert not np.array_equal(first[0], other[0])


@pytest.mark.statistical
def test_history_dropout_hides_context_and_no_target():
    """The share hidden is within 4.9 standard errors: a false alarm in a million; fixed seed."""
    config = settings(history_dropout=0.3, local_steps=400)
    plain = batches(range(14), settings(local_steps=400))
    hidden = batches(range(14), config)
    np.testing.assert_array_equal(hidden[1], plain[1])
    items = plain[0] != START
    gone = (hidden[0] == START) & items
    np.testing.assert_array_equal(hidden[0][~gone], plain[0][~gone])
    share, n = gone.sum() / items.sum(), items.sum()
    assert abs(share - 0.3) < 4.9 * np.sqrt(0.3 * 0.7 / n)
