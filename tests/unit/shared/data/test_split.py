"""Leave-one-out by time, and the negatives of the sampled metrics."""

import numpy as np
import pytest
from scipy import stats

from shared.data import split


@pytest.mark.parametrize("length", [0, 1, 2])
def test_short_histories_only_train(length: int) -> None:
    history = np.arange(length)
    assert split.training_history(history).tolist() == history.tolist()
    assert split.held_out(history, "validation", 60) is None
    assert split.held_out(history, "test", 60) is None


def test_nothing_is_asked_of_who_met_every_item() -> None:
    history = np.arange(6)
    for phase in ("validation", "test"):
        assert split.held_out(history, phase, 6) is None
        assert split.held_out(history, phase, 7) is not None


@pytest.mark.parametrize("length", [3, 4, 50])
def test_the_last_two_are_held_out(length: int) -> None:
    history = np.arange(length)[::-1].copy()
    validation, test = (split.held_out(history, phase, 60) for phase in ("validation", "test"))
    assert validation is not None
    assert test is not None
    assert test.target == history[-1]
    assert test.context.tolist() == history[:-1].tolist()
    assert validation.target == history[-2]
    assert validation.context.tolist() == history[:-2].tolist()
    training = split.training_history(history).tolist()
    assert [*training, validation.target, test.target] == history.tolist()


def test_negatives_are_unseen_distinct_and_depend_on_seed_and_key_only() -> None:
    history = np.array([3, 0, 77])
    first = split.sample_negatives(history, 300, 99, seed=1, key=5)
    assert first.dtype == np.int64
    assert len(set(first.tolist())) == 99
    assert not set(first.tolist()) & set(history.tolist())
    assert first.tolist() == split.sample_negatives(history, 300, 99, 1, 5).tolist()
    # What was unseen is the same whatever the order of the history.
    assert first.tolist() == split.sample_negatives(history[::-1], 300, 99, 1, 5).tolist()
    assert first.tolist() != split.sample_negatives(history, 300, 99, 1, 6).tolist()
    assert first.tolist() != split.sample_negatives(history, 300, 99, 2, 5).tolist()


def test_few_unseen_items_are_all_taken() -> None:
    negatives = split.sample_negatives(np.arange(7), 10, 99, seed=0, key=0)
    assert sorted(negatives.tolist()) == [7, 8, 9]
    assert len(split.sample_negatives(np.arange(10), 10, 99, 0, 0)) == 0
    assert len(split.sample_negatives(np.arange(3), 10, 0, 0, 0)) == 0


@pytest.mark.statistical
def test_negatives_are_uniform() -> None:
    """Chi-squared over 4,000 users and 20 unseen items; fixed seed, nominal false alarm 1e-3."""
    history = np.arange(5)
    counts = np.zeros(25)
    for user in range(4000):
        counts[split.sample_negatives(history, 25, 5, seed=0, key=user)] += 1
    assert counts[:5].sum() == 0
    # Without replacement, counts vary less than multinomial ones: scale the statistic up.
    statistic = stats.chisquare(counts[5:]).statistic / (1 - 4 / 19)
    assert statistic < stats.chi2.ppf(1 - 1e-3, df=19)
