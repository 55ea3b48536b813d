"""Attributes that nobody sends, told from what is sent and from what is recommended."""

import math

import numpy as np
import pytest
import torch

from shared.errors import ConfigError
from shared.model.adapter import current
from simulations.audit.attacks.attributes import (
    features,
    findings,
    inferred,
    items_of,
    recommendations,
)
from simulations.audit.attacks.updates import updates_of
from simulations.audit.attacks.views import noised
from tests.support.auditing.audited import at, simulated

USERS = 150


@pytest.fixture(scope="module")
def world(tiny_bert):
    return simulated(tiny_bert, USERS)


def views(world, epsilon):
    """Everyone's items, and rows of their updates; and whether they like one kind of item."""
    point = at(world, epsilon)
    engine, keys = world.engine(point.model), list(world.users)
    adapter = current(engine.recommender, engine.schema)
    sent = updates_of(engine, point, keys, adapter.double().numpy())
    if math.isfinite(epsilon):
        opened = noised(point, USERS, "update")
        sent = np.stack([opened(row[None], draw) for draw, row in enumerate(sent)])
    found = {"items": items_of(engine, keys), **features(engine, point, sent)}
    model = engine.recommender
    kind = (model.items @ model.basis[:, 0]).numpy() > 0  # on one side of the leading component
    share = found["items"] @ kind / found["items"].sum(1)
    return found, {"kind": share > np.median(share)}


def test_an_attribute_is_told_from_an_update(world):
    found = {each.view: each for each in inferred(*views(world, math.inf))}
    assert found["items"].auc.value > 0.8
    assert found["items read"].auc.value > 0.8
    assert found["items read"].accuracy.low > found["items read"].majority
    assert found["numbers"].auc.low > 0.55
    assert all(finding.verdict == "not shown" for finding in findings(list(found.values())))


def test_an_attribute_is_not_told_from_an_update_with_a_sums_noise(world):
    found = {each.view: each for each in inferred(*views(world, 1.0))}
    for view in ("items read", "numbers"):
        assert found[view].auc.low < 0.55


def test_labels_of_no_meaning_are_not_told():
    random, told = np.random.default_rng(0), []
    for seed in range(20):
        rows = random.normal(size=(100, 300))
        told += inferred({"noise": rows}, {"coin": random.random(100) < 0.5}, seed)
    # Twenty areas around 1/2, each with a standard error of 0.06.
    assert abs(np.mean([each.auc.value for each in told]) - 0.5) < 0.05


def test_nobody_is_judged_by_their_own_label():
    random = np.random.default_rng(1)
    rows = random.normal(size=(60, 500))  # any labels can be fitted
    has = random.random(60) < 0.5
    (found,) = inferred({"rows": rows}, {"coin": has})
    assert found.auc.value < 0.75
    with pytest.raises(ConfigError, match="'rare': 2 people have it"):
        inferred({"rows": rows}, {"rare": np.arange(60) < 2})


def test_recommendations_are_the_scores_that_ranking_uses(world):
    point = at(world)
    engine, keys = world.engine(point.model), list(world.users)[:5]
    adapter = current(engine.recommender, engine.schema)
    found = recommendations(engine, point, engine.schema.split(adapter.numpy()), keys)
    assert found.shape == (5, 120)
    seen = []

    def score(windows, last):
        seen.append((windows, last))
        return engine.recommender(windows)[range(5), last]

    with torch.no_grad():
        engine.ranks(keys, score, "validation", point)
        windows, last = seen[0]  # before the item that validates: what was trained on
        wanted = engine.recommender(windows)[range(5), last].numpy()
    assert np.allclose(found, wanted, atol=1e-4)
