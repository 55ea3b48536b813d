"""What the frontier is compared with: ranked as the product ranks, and as private as it says."""

import json
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from shared.privacy.accounting.accountant import epsilon
from tests.support import ROOT


@pytest.fixture(scope="module")
def of_peers():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield lambda name: import_module(name)


def random_train(seed, people, items, density):
    rng = np.random.default_rng(seed)
    return csr_matrix((rng.random((people, items)) < density).astype(float))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 8), st.integers(1, 12), st.integers(1, 4)),
    density=st.floats(0, 1),
    exponent=st.sampled_from((0.0, -0.25, -1.0)),
    scale=st.sampled_from((0.0, 1e-200, 2.7e-162, 1e-3, 1.0, 1e6, 1e200, np.inf, np.nan)),
)
def test_a_person_moves_no_statistic_of_dp_als_by_more_than_one(
    of_peers, seed, shape, density, exponent, scale
):
    """Sums with a person, and with all that they contribute zero, in every released statistic."""
    peer, rng = of_peers("peers.dp_als"), np.random.default_rng(seed)
    people, items, rank = shape
    train = random_train(seed, people, items, density)
    counts = np.maximum(rng.normal(0, 50, items), 0) + 1  # as released, with its noise
    raw = rng.normal(size=(people, rank))
    raw[0] *= scale
    users, share = peer.unit(raw), peer.weights(train, exponent, counts)
    present = [peer.histogram(train), *peer.statistics(users, share)]
    gone, without = train.tolil(), users.copy()
    gone[0], without[0] = 0, 0
    share_without = share.tolil()
    share_without[0] = 0
    absent = [peer.histogram(gone.tocsr()), *peer.statistics(without, share_without.tocsr())]
    for one, other in zip(present, absent, strict=True):
        assert np.linalg.norm((one - other).ravel()) <= 1 + 1e-9


def test_dp_als_costs_what_it_releases_and_every_release_is_noised(of_peers):
    """The events' composition meets the budget that one release at z meets, and is not below it."""
    peer = of_peers("peers.dp_als")
    sums = []

    class Watched(peer.Noise):
        def __call__(self, total, share):
            noised = super().__call__(total, share)
            sums.append((noised - total) * share**0.5)
            return noised

    train, chosen = random_train(0, 40, 60, 0.3), peer.Settings(rank=6, steps=3, local_share=0.2)
    noise = Watched(0.7, np.random.default_rng(0))
    scores = peer.train_items(train, chosen, noise)(train, np.arange(40))
    assert np.isfinite(scores).all()
    assert len(noise.events) == len(sums) == 1 + 3 * 3
    alone = peer.Noise(0.7, np.random.default_rng(0))
    alone(np.zeros(1), 1.0)
    assert epsilon(noise.events, 1e-4) == pytest.approx(epsilon(alone.events, 1e-4), rel=1e-3)
    every = np.concatenate([each.ravel() for each in sums])  # 6,700 numbers
    assert every.std() == pytest.approx(0.7, rel=0.05)  # false alarms below 1e-7
    silent = peer.Noise(0.0, np.random.default_rng(0))
    peer.train_items(train, chosen, silent)
    assert epsilon(silent.events, 1e-4) == np.inf


@pytest.mark.parametrize("shape", [(30, 12), (12, 30)])
def test_ease_is_its_closed_form(of_peers, shape):
    train = random_train(1, *shape, 0.4)
    contexts = random_train(2, 5, shape[1], 0.4)
    inverse = np.linalg.inv((train.T @ train).toarray() + 20 * np.eye(shape[1]))
    weights = np.eye(shape[1]) - inverse / np.diag(inverse)
    found = of_peers("peers.anchors").ease(train)(20.0)(contexts, np.arange(5))
    assert np.allclose(found, contexts @ weights, atol=1e-9)
    assert np.allclose(np.diag(weights), 0)


def test_popularity_is_what_the_product_measured(of_peers):
    """On the same logs and people: so the split, the negatives, the ties and the metrics agree."""
    results = ROOT / "benchmarks" / "results"
    here = json.loads((results / "frontier_peers.json").read_text())["rows"]
    found = {(r["log"], r["users"]): r["metrics"] for r in here if r["peer"] == "popularity"}
    compared = 0
    for row in json.loads((results / "logs.json").read_text())["rows"]:
        mine = found.get((row["log"], row["data"]["users"]))
        if mine is not None:
            theirs = row["metrics"]["popularity"]
            assert {name: mine[name] for name in theirs} == theirs
            compared += 1
    assert compared >= 4


def test_private_rows_keep_their_budget(of_peers):
    """Three noise seeds each, the composed epsilon at most the target and hardly below it."""
    file = ROOT / "benchmarks" / "results" / "frontier_peers.json"
    rows = [row for row in json.loads(file.read_text())["rows"] if row["peer"] == "dp_als"]
    assert {row["log"] for row in rows} == {"movielens-100k", "movielens-1m"}
    for row in rows:
        assert len(row["each"]) == len(row["seeds"]) == 3
        if np.isfinite(row["epsilon_target"]):
            assert 0.99 * row["epsilon_target"] < row["epsilon"] <= row["epsilon_target"]
