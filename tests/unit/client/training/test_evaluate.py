"""Ranks of a held-out item against a loop over competitors."""

import numpy as np
import pytest

from client.training.evaluate import NEGATIVES_SEED, target_ranks
from shared.data.split import held_out, sample_negatives

ITEMS, NEGATIVES = 60, 20


def slow_ranks(scores, history, case, user):
    """One competitor at a time: ahead unless it scores below the target."""
    drawn = sample_negatives(history, len(scores), NEGATIVES, NEGATIVES_SEED, user)
    rivals = [item for item in range(len(scores)) if item not in {case.target, *case.context}]
    return tuple(
        sum(not scores[item] < scores[case.target] for item in among) for among in (drawn, rivals)
    )


@pytest.mark.parametrize("phase", ["validation", "test"])
def test_ranks_equal_the_loop_over_competitors_with_ties_and_what_is_not_a_number(phase):
    rng = np.random.default_rng(0)
    values = np.array([-np.inf, 0.0, 0.5, 1.0, np.inf, np.nan], dtype=np.float32)
    seen = set()
    for user in range(200):
        scores = rng.choice(values, ITEMS)  # few values: ties are everywhere
        history = rng.permutation(ITEMS)[: rng.integers(3, ITEMS)].astype(np.int64)
        case = held_out(history, phase, ITEMS)
        found = target_ranks(scores, history, case, NEGATIVES, user)
        assert found == slow_ranks(scores, history, case, user)
        seen.add(found)
    assert len(seen) > 20  # not one trivial answer throughout


def test_what_the_context_holds_does_not_compete_in_the_full_ranking():
    history = np.array([3, 1, 4, 0], dtype=np.int64)
    scores = np.array([0.5, 9.0, 0.1, 9.0, 9.0, 0.7], dtype=np.float32)
    assert target_ranks(scores, history, held_out(history, "test", 6), 2, key=0) == (1, 1)


def test_a_score_for_everything_alike_ranks_the_target_last():
    history = np.array([0, 1, 2], dtype=np.int64)
    scores = np.zeros(ITEMS, dtype=np.float32)
    ranks = target_ranks(scores, history, held_out(history, "test", ITEMS), NEGATIVES, key=0)
    assert ranks == (NEGATIVES, ITEMS - 3)
