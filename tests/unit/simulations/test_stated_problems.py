"""What a simulation leaves out is a problem, and so is what no people can have given."""

import copy
import itertools
import math

import numpy as np
import pytest

from shared.metrics import discounted_gains, hits, ranking_metrics, standard_error
from simulations.results import Stated
from simulations.verify.comparisons import possible_errors
from simulations.verify.stated import _people_problems


def draws():
    """Ranks of people of many kinds: none hit, all, few, many, two people, ties."""
    rng = np.random.default_rng(3)
    for users, hit in itertools.product((2, 3, 40, 1000), (0.0, 0.02, 0.5, 1.0)):
        yield np.where(rng.random(users) < hit, rng.integers(0, 10, users), 60)
        yield np.where(rng.random(users) < hit, 9, 10)
        yield np.where(rng.random(users) < hit, 0, 10)
    yield np.array([4])


def told(ranks, full=None):
    return ranking_metrics(ranks, ranks if full is None else full)


def problems(metrics, users):
    return list(_people_problems("metrics", Stated(metrics), users))


@pytest.mark.parametrize("ranks", list(draws()), ids=lambda ranks: f"{len(ranks)} people")
def test_what_people_gave_may_be_stated(ranks):
    assert problems(told(ranks, 2 * ranks), float(len(ranks))) == []


HALF = np.where(np.arange(40) < 20, 0, 60)
FORGED = {
    "a hit that is no whole person": {"hr@10": 0.51},
    "hits without a spread": {"hr@10_se": 0.0},
    "hits that spread less": {"full_hr@10_se": 0.07},
    "more gain than hits": {"ndcg@10": 0.6},
    "less gain than the tenth places have": {"ndcg@10": 0.1},
    "a gain without a spread": {"full_ndcg@10_se": 1e-6},
    "a gain that spreads more": {"ndcg@10_se": 0.2},
    "a rank that is none": {"mrr": 0.0},
    "a rank above the first": {"mrr": 1.01},
    "ranks that spread more": {"full_mrr_se": 0.2},
    "another number of people": {"users": 41.0},
    "no number of people": {"users": "40"},
    "a word": {"hr@10": "0.5"},
    "nothing": {"ndcg@10": None},
}


@pytest.mark.parametrize("case", FORGED)
def test_what_nobody_can_have_given_is_a_problem(case):
    assert problems(told(HALF), 40) == []
    (problem,) = problems({**told(HALF), **FORGED[case]}, 40)
    assert "40 people" in problem


@pytest.mark.parametrize("name", told(HALF))
def test_every_figure_must_be_there(name):
    metrics = copy.copy(told(HALF))
    del metrics[name]
    assert f"metrics: {name}: missing" in problems(metrics, 40)[0]


def test_the_error_of_a_difference_is_one_that_two_samples_can_have():
    """Of any two over the same people; where all who differ do so one way it is the least."""
    rng = np.random.default_rng(4)
    for ranks in draws():
        other = np.where(rng.random(len(ranks)) < 0.3, rng.integers(0, 20, len(ranks)), ranks)
        for metric, of in (("full_hr@10", hits), ("ndcg@10", discounted_gains)):
            if len(ranks) < 2:
                continue
            one, two = of(ranks), of(other)
            means, errors = (one.mean(), two.mean()), (standard_error(one), standard_error(two))
            least, most = possible_errors(metric, means, errors, len(ranks))
            assert least - 1e-9 <= standard_error(one - two) <= most + 1e-9
    more, fewer = hits(np.where(np.arange(40) < 24, 0, 60)), hits(HALF)
    errors = standard_error(more), standard_error(fewer)
    least, most = possible_errors("hr@10", (0.6, 0.5), errors, 40)
    assert least == pytest.approx(standard_error(more - fewer))
    assert least > 10 * abs(errors[0] - errors[1])  # what the two errors alone would allow
    assert most == pytest.approx(standard_error(more - (1 - np.roll(hits(HALF), 4))), rel=0.1)
    assert math.isfinite(most)
