"""What checks say of right and wrong records, where their own arithmetic could mislead."""

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent

from shared.privacy.guarantee import Guarantee
from simulations.audit.checks import noise, people, record
from simulations.audit.foreign import audited, read
from simulations.audit.replay.observed import Exchange, Release
from simulations.audit.run import band
from tests.support.auditing.foreign import write


def promise(budget):
    return Guarantee("user", "zero_out", "central", "anyone", 1e-5, 1, budget)


@pytest.mark.parametrize(
    ("times", "budget", "verdict"),
    [
        (1000, 1.25, "holds"),
        (1000, 1.15, "violated"),
        (1000, 0.299, "violated"),
        (1, 0.05, "holds"),
    ],
)
def test_a_long_record_is_counted_as_exactly_as_a_short_one(times, budget, verdict):
    events = [GaussianDpEvent(100.0)] * times
    assert record.counted("epsilon", events, promise(budget)).verdict == verdict


def release(number, sent, draw, asked=()):
    """A sum with fresh noise of deviation 1."""
    keys = tuple(range(len(sent)))
    start = np.zeros(0, np.float32)
    exchange = Exchange("update", number, asked or keys, keys, sent, True, start)
    vector = sent.astype(np.float64).sum(0) + draw.normal(size=sent.shape[1])
    return Release(exchange, vector, 1.0, 1.0)


class Seen:
    """As much of sums as these checks look at."""

    def __init__(self, releases, users=300, share=0.5, sampled=True):
        self.releases, self.users, self.sampled = tuple(releases), users, sampled
        self.canaries, self.share = None, share
        self.histories = {key: 1 + key % 7 for key in range(users)}

    def expected(self, kind):
        return self.users * self.share


def test_fresh_noise_is_fresh_however_much_of_it_nobody_can_see():
    """A hundred people, each along a coordinate of their own: half of all numbers are theirs."""
    draw = np.random.default_rng(0)
    for _ in range(12):
        sent = np.eye(100, 200, dtype=np.float32)
        seen = Seen([release(n, sent, draw) for n in range(20)])
        assert noise.noise_fresh(seen).verdict == "holds"


def test_of_many_releases_the_same_noise_in_turn_is_seen():
    draw = np.random.default_rng(0)
    sent = np.eye(10, 80, dtype=np.float32)
    found = [release(n, sent, draw) for n in range(260)]
    assert noise.noise_fresh(Seen(found)).verdict == "holds"
    again = Release(found[99].exchange, found[98].vector, 1.0, 1.0)
    assert noise.noise_fresh(Seen([*found[:99], again, *found[100:]])).verdict == "violated"


def test_noise_that_is_hardly_seen_says_nothing_of_weights():
    draw = np.random.default_rng(0)
    few = [release(1, draw.normal(size=(2, 4)).astype(np.float32), draw)]
    assert people.weights(Seen(few)).verdict == "not shown"
    verdicts = {
        people.weights(
            Seen([release(1, draw.normal(size=(20, 80)).astype(np.float32), draw)])
        ).verdict
        for _ in range(200)
    }
    assert verdicts == {"holds"}


def cohorts(draw, choose, rounds=20):
    sent = np.zeros((1, 3), np.float32)
    return Seen([release(n, sent, draw, choose(n)) for n in range(rounds)], share=0.3)


def test_cohorts_that_take_turns_are_no_samples():
    draw = np.random.default_rng(0)
    sampled = lambda n: tuple(np.flatnonzero(draw.random(300) < 0.3).tolist())  # noqa: E731
    two = [sampled(0), sampled(1)]
    assert people.sampling(cohorts(draw, lambda n: two[n % 2])).verdict == "violated"
    order = draw.permutation(300).tolist()
    in_turn = lambda n: tuple((order * 9)[90 * n % 300 :][:90])  # noqa: E731
    assert people.sampling(cohorts(draw, in_turn)).verdict == "violated"
    assert {people.sampling(cohorts(draw, sampled)).verdict for _ in range(100)} == {"holds"}


def test_fixed_cohorts_that_take_turns_are_not_drawn(tmp_path):
    write(tmp_path / "right", claim__sampling={"kind": "fixed", "cohort": 60})
    assert {each.name: each.verdict for each in audited(read(tmp_path / "right"))}[
        "sampling"
    ] == "holds"


@pytest.mark.parametrize(
    ("count", "told"), [(9, "fewer than 10"), (10, "10 or more"), (737, "500 or more")]
)
def test_how_much_somebody_has_is_told_in_bands(count, told):
    assert band(count) == told
