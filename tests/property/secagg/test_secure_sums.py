"""A secure sum is the plain sum, to the last bit, or there is none.

    pytest -m "slow or not slow" tests/property/secagg/test_secure_sums.py

runs all 1,000 cohorts; without -m the first 24 are run.
"""

from dataclasses import dataclass
from math import exp, log

import numpy as np
import pytest

from shared.errors import TooFewDevices
from shared.secagg.parameters import parameters
from tests.support.privacy.cohorts import STAGES, Cohort, session

MOST_DEVICES, MOST_NUMBERS = 200, 100_000
FIRST, ALL = range(24), range(24, 1000)


@dataclass
class Run:
    """One cohort drawn at random: its session, nodes and dropouts, up to those tolerated or not."""

    seed: int

    def __post_init__(self):
        rng = self.rng = np.random.default_rng(self.seed)
        size, dim = self.between(3, MOST_DEVICES), self.between(1, MOST_NUMBERS)
        self.session = session(
            bits=int(rng.integers(8, 63)),
            dim=dim,
            fewest=int(rng.integers(2, size + 1)),
            colluding=float(rng.choice([0, 0.1, 0.2, 0.3, 0.49])),
            nonce=rng.bytes(16),
        )
        self.nodes = sorted({int(n) for n in rng.integers(0, 2**64, size, np.uint64)})
        found = parameters(len(self.nodes), self.session.fewest, self.session.colluding)
        self.tolerated, self.parameters = len(self.nodes) - found.fewest, found

    def between(self, low, high):
        return round(exp(self.rng.uniform(log(low), log(high))))

    def dropouts(self, count, stages=STAGES):
        chosen = self.rng.choice(len(self.nodes), count, replace=False)
        return {self.nodes[each]: str(self.rng.choice(stages)) for each in chosen}

    def cohort(self, gone):
        return Cohort(self.session, self.nodes, gone, self.rng, self.seed)


def check(seed):
    """One run within what is tolerated; one in four above it, too."""
    run = Run(seed)
    count = run.tolerated if run.rng.random() < 0.5 else run.rng.integers(0, run.tolerated + 1)
    cohort = run.cohort(run.dropouts(count))
    total = cohort.run()
    assert total.dtype == run.session.ring.words
    assert np.array_equal(total, cohort.plain())
    assert cohort.aggregator.failures == []
    if seed % 4 == 0:
        above(run)


def above(run):
    """Too many drop out at one stage: the named error, and no device has revealed a share."""
    stage = str(run.rng.choice(STAGES[:-1]))
    needed = {"advertise": run.session.fewest, "agree": run.parameters.quorum}
    least = len(run.nodes) - needed.get(stage, run.parameters.fewest) + 1
    cohort = run.cohort(run.dropouts(run.rng.integers(least, len(run.nodes) + 1), [stage]))
    with pytest.raises(TooFewDevices):
        cohort.run()
    assert "reveal" not in cohort.replies


@pytest.mark.parametrize("seed", FIRST)
def test_sums(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", ALL)
def test_more_sums(seed):
    check(seed)


@pytest.mark.parametrize("bits", range(2, 63))
def test_elements_travel_in_exactly_their_bits(bits):
    about = session(bits=bits)
    for dim in (0, 1, 7, 8, 9, 100):
        numbers = np.random.default_rng(dim).integers(0, 2**bits, dim, np.uint64)
        elements = numbers.astype(about.ring.words)
        data = about.ring.pack(elements)
        assert len(data) == -(-dim * bits // 8) == about.ring.packed(dim)
        assert int.from_bytes(data, "little") == sum(
            int(number) << place * bits for place, number in enumerate(numbers)
        )
        back = about.ring.unpack(data, dim)
        assert back.dtype == elements.dtype
        assert np.array_equal(back, elements)
