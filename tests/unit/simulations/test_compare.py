"""When a model is called above or below what it is compared with."""

import math

import numpy as np
import pytest

from shared.metrics import ranking_metrics
from simulations.compare import (
    BELOW,
    METRICS,
    Difference,
    pairs_of,
    seed_means,
    settings_apart,
    share,
    with_comparisons,
)
from simulations.results import Point, Reference, Results

USERS = 200


def part(ranks, kind=Reference, **more):
    ranks = [int(rank) for rank in ranks]
    full = [3 * rank for rank in ranks]
    found = {
        "metrics": ranking_metrics(ranks, full),
        "ranks": {"sampled": ranks, "full": full},
        **more,
    }
    return kind(found)


def point(ranks, seed=0, target=8.0, **more):
    return part(ranks, Point, epsilon_target=target, epsilon=target, seed=seed, **more)


def draw(hit, seed, users=USERS):
    """Ranks of which a share is among the first ten."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(users) < hit, rng.integers(0, 10, users), 50)


def told(one, other):
    done, _ = with_comparisons([one], {"popularity": other})
    return done[0].stated["compared"]["popularity"]


def test_a_difference_is_over_the_same_people_one_by_one():
    """Of lists that hit alike but for twelve people, twelve are what there is to judge by."""
    ranks = draw(0.5, 0)
    fewer = ranks.copy()
    fewer[np.flatnonzero(ranks < 10)[:12]] = 99
    pair = pairs_of(point(ranks), {"popularity": part(fewer)})["popularity"]["hr@10"]
    assert pair["difference"] == pytest.approx(12 / USERS)
    assert pair["se"] == pytest.approx(np.std([1.0] * 12 + [0.0] * 188, ddof=1) / math.sqrt(USERS))
    assert pair["verdict"] == "above"
    assert pair["se"] < part(ranks).metrics["hr@10_se"] / 2  # what the two samples alone would give


@pytest.mark.parametrize("lucky", [1, 4])
def test_a_few_lucky_hits_among_ties_are_not_evidence(lucky):
    """Four of four would be a sign test's p of .125: 1.96 standard errors call it above."""
    ranks = np.full(USERS, 50)
    more = ranks.copy()
    more[:lucky] = 0
    pair = told(point(more), part(ranks))["hr@10"]
    assert lucky == 1 or pair["difference"] > 1.96 * pair["se"]
    assert pair["verdict"] == "not shown"


@pytest.mark.parametrize("users", [2, 3, 5])
def test_a_handful_of_people_shows_nothing(users):
    pair = told(point([0] * users), part([50] * users))["hr@10"]
    assert (pair["difference"], pair["se"], pair["verdict"]) == (1.0, 0.0, "not shown")


def test_one_person_alone_is_not_compared():
    done, _ = with_comparisons([point([0])], {"popularity": part([50])})
    assert done[0].stated["compared"] == {}


@pytest.mark.parametrize("informative", [0.02, 0.1, 1.0])
def test_models_that_are_alike_are_seldom_told_apart(informative):
    """Under no difference: above in at most 2.5% of 1000 draws, four standard errors allowed."""
    rng = np.random.default_rng(5)
    above = 0
    for _ in range(1000):
        apart = rng.choice([-1.0, 1.0], USERS) * (rng.random(USERS) < informative)
        error = apart.std(ddof=1) / math.sqrt(USERS)
        above += Difference.over([(apart.mean(), error)], USERS).low > 0
    assert above <= 25 + 4 * math.sqrt(25)


def test_seeds_that_disagree_show_less_than_each_alone():
    one, other = point(draw(0.55, 1)), point(draw(0.95, 2), seed=1)
    reference = part(draw(0.4, 3))
    done, _ = with_comparisons([one, other], {"popularity": reference})
    (mean,) = seed_means(done)
    assert [at.stated["compared"]["popularity"]["hr@10"]["verdict"] for at in done] == ["above"] * 2
    assert mean.with_["popularity"]["hr@10"].verdict == "not shown"
    agreeing, _ = with_comparisons([one, point(draw(0.55, 1), seed=1)], {"popularity": reference})
    assert seed_means(agreeing)[0].with_["popularity"]["hr@10"].verdict == "above"


def test_a_seed_that_is_below_alone_is_named():
    points = [point(draw(0.6, 1)), point(draw(0.2, 2), seed=1)]
    done, _ = with_comparisons(points, {"popularity": part(draw(0.4, 3))})
    (mean,) = seed_means(done)
    assert (1, "popularity", "hr@10") in mean.below_alone
    assert mean.with_["popularity"]["hr@10"].verdict != BELOW


def test_every_point_is_compared_with_its_own_start_and_noised_ones_with_the_same_model():
    own = {"start": part(draw(0.5, 4)).stated, "popularity_private": part(draw(0.3, 5)).stated}
    points = [point(draw(0.5, 6), target=t, references=own) for t in (2.0, math.inf)]
    references = {n: part(draw(0.4, 7)) for n in ("popularity", "centralized", "same_model")}
    done, kept = with_comparisons(points, references)
    noised, open_ = (set(at.stated["compared"]) for at in done)
    assert noised == {"popularity", "start", "popularity_private", "same_model"}
    assert open_ == {"popularity", "start", "popularity_private"}
    assert set(kept["same_model"].stated["compared"]) == {"popularity"}
    assert all(set(each) == set(METRICS) for each in done[0].stated["compared"].values())


def test_single_people_are_not_among_results():
    own = {"start": part(draw(0.5, 4)).stated}
    done, kept = with_comparisons(
        [point(draw(0.5, 6), references=own)], {"popularity": part(draw(0.4, 7))}
    )
    results = Results.of({"schema": 1, "points": []}).having(done, kept, complete=True)
    assert "ranks" not in str(results.stated)
    assert results.points[0].stated["references"]["start"]["metrics"]["users"] == USERS


def test_a_share_is_of_gains_that_are_shown():
    gain, whole, unclear = (
        Difference(0.1, 0.05, 0.15),
        Difference(0.2, 0.1, 0.3),
        Difference(0, -1, 1),
    )
    assert share(gain, whole) == pytest.approx(0.5)
    assert share(gain, unclear) is share(unclear, whole) is share(gain, None) is None


def test_settings_that_are_the_same_are_not_apart():
    config = {"private": {"model": {"lora_rank": 4, "item_rank": 0}}, "model": {"lora_rank": 4}}
    assert settings_apart(config) == {"model.item_rank": (0, None)}
    assert settings_apart({"model": {"lora_rank": 4}}) == {}
