"""A secure aggregation from adverts to the sum, in one process."""

import numpy as np
import pytest

from shared.errors import OutOfOrder, TooFewDevices
from shared.secagg.participant import Stage
from tests.support.privacy.cohorts import STAGES, Cohort, session


def test_the_sum_is_that_of_those_whose_input_arrived():
    cohort = Cohort(session(), list(range(1, 8)), {2: "share", 3: "mask", 4: "agree"})
    total = cohort.run()
    assert total.dtype == np.uint32
    assert np.array_equal(total, cohort.plain())
    assert sorted(cohort.replies["mask"]) == [1, 4, 5, 6, 7]
    assert cohort.aggregator.failures == []


@pytest.mark.parametrize("stage", STAGES)
def test_too_few_at_any_stage_open_nothing(stage):
    nodes = list(range(1, 8))  # 4 must agree
    cohort = Cohort(session(fewest=4), nodes, dict.fromkeys(nodes[:4], stage))
    with pytest.raises(TooFewDevices, match="3 "):
        cohort.run()


def test_a_sum_of_two_is_the_smallest():
    assert np.array_equal((cohort := Cohort(session(fewest=2), [5, 2])).run(), cohort.plain())
    with pytest.raises(TooFewDevices):
        Cohort(session(fewest=2), [5]).run()


def test_secrets_are_forgotten_when_they_have_served():
    cohort = Cohort(session(), [1, 2, 3])
    cohort.run("mask")
    state = cohort.participants[1]._state
    assert (state.seal_private, state.advert) == (b"", b"")
    cohort.step("mask")
    assert (state.mask_seed, state.self_seed, state.opening) == (b"", b"", b"")
    for stage in ("agree", "reveal"):
        cohort.step(stage)
    finished = cohort.participants[1]
    assert finished.stage is Stage.FINISHED
    assert not any(finished._state.parts())
    with pytest.raises(OutOfOrder):
        finished.save()


def test_sums_in_a_sparse_graph():
    nodes = list(range(100, 190))
    cohort = Cohort(session(fewest=70, colluding=0.0), nodes)
    cohort.gone = dict(zip(nodes[::6], 5 * STAGES[1:], strict=False))
    total = cohort.run()
    assert not cohort.aggregator._roster.parameters.complete
    assert np.array_equal(total, cohort.plain())
