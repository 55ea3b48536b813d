"""Recommendations are the best unseen items, and their reasons add up to their scores."""

import numpy as np
import pytest
import torch

from client.serving.recommend import recommend
from shared.data.windows import context_window
from shared.errors import ConfigError
from shared.model.adapter import install
from shared.model.affinities import PRIOR
from simulations.world.world import World
from tests.support.tiny import LENGTH, make_engine, random_adapter

ITEMS = 60


@pytest.fixture(scope="module", params=[{}, {"item_bias": False}, {"summary_scale": 0.0}], ids=str)
def recommender(request, tiny_bert):
    engine = make_engine(World(users=3, items=ITEMS), tiny_bert, **request.param)
    install(engine.recommender, engine.schema, random_adapter(engine.schema))
    return engine.recommender


HISTORIES = {
    "none": [],
    "one": [3],
    "short": [3, 9, 1],
    "longer than a window": list(range(20)),
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=list(HISTORIES))
def test_the_best_unseen_items_and_parts_that_add_up(history, recommender):
    history = np.array(history, dtype=np.int64)
    found = recommend(recommender, history, LENGTH, 10)
    scores = recommender(torch.from_numpy(context_window(history, LENGTH))[None])[0, -1]
    scores = scores.detach().numpy()
    unseen = np.setdiff1d(np.arange(ITEMS), history)
    best = unseen[np.argsort(-scores[unseen])][:10]
    assert [one.item for one in found] == best.tolist()
    for one in found:
        total = one.popularity + one.language_model + sum(share for _, share in one.history)
        assert one.score == pytest.approx(float(scores[one.item]), abs=1e-4)
        assert one.score == pytest.approx(total, abs=1e-4)
        assert sorted(item for item, _ in one.history) == sorted(history[-LENGTH:].tolist())
        shares = [share for _, share in one.history]
        assert shares == sorted(shares, reverse=True)
        kinds = [share for _, share in one.kinds]
        assert {kind for kind, _ in one.kinds} == set(PRIOR)
        assert kinds == sorted(kinds, reverse=True)
        assert sum(kinds) == pytest.approx(sum(shares), abs=1e-4)
        assert all(kinds) == bool(len(history))


@pytest.mark.parametrize("k", [0, -1, ITEMS - 1])
def test_k_is_bounded_by_the_unseen_items(k, recommender):
    with pytest.raises(ConfigError, match=rf"-k {k}: must be in \[1, {ITEMS - 2}\]"):
        recommend(recommender, np.array([3, 9]), LENGTH, k)


def test_all_unseen_items_can_be_asked_for(recommender):
    found = recommend(recommender, np.array([3, 9]), LENGTH, ITEMS - 2)
    assert {one.item for one in found} == set(range(ITEMS)) - {3, 9}
