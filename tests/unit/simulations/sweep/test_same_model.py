"""The noised points' settings without noise: clipped alike, whether clients are merged or not."""

import math
from dataclasses import replace

import numpy as np
import pytest

from shared.config import at_epsilon, from_dict
from shared.errors import ConfigError
from shared.model.adapter import current
from shared.privacy.contribution.bound import update_clip
from shared.request import Request
from simulations.compare import same_model
from simulations.engine.simulation import Simulation
from simulations.sweep.sweep import _refuse_alike


def settings(**more):
    tree = {
        "data": {"spec": "world", "users": 12, "world_items": 40},
        "model": {"lora_rank": 2, "layers": 1, "max_length": 12},
        "federation": {"rounds": 3, "cohort": 6.0},
        "privacy": {"clipping_norm": 0.01, "delta": 1e-3},
        "sweep": {"epsilons": [math.inf, 4.0, 2.0], "seeds": [3, 4]},
        "private": {"federation": {"rounds": 2}, "model": {"lora_rank": 1}},
    }
    for name, value in more.items():
        tree[name] = {**tree[name], **value}
    return from_dict(tree)


def test_it_differs_from_a_noised_point_in_noise_alone():
    config = settings()
    same, noised = same_model(config), at_epsilon(config, 2.0, 3)
    assert replace(same, privacy=noised.privacy) == noised
    off = replace(same.privacy, epsilon=2.0, clip_without_noise=None)
    assert off == noised.privacy
    assert same.privacy.epsilon == math.inf
    assert update_clip(same) == update_clip(noised)
    assert update_clip(at_epsilon(config, math.inf, 3)) is None


@pytest.mark.parametrize(
    "privacy",
    [{"unit": "example"}, {"unit": "example", "trust": "local"}],
    ids=["central", "local"],
)
def test_examples_are_not_clipped_without_noise(privacy):
    assert update_clip(same_model(settings(privacy=privacy))) is None


def test_a_merged_sum_is_of_clipped_updates(tiny_bert):
    config = settings(model={"backbone": str(tiny_bert)})
    simulation = Simulation(config)
    same = same_model(simulation.config)
    engine = simulation.engine(same.model)
    start = engine.schema.split(current(engine.recommender, engine.schema).double().numpy())
    request = Request(
        "update", same, 12, settings="", round_number=1, arrays=start, schema=engine.schema.digest
    )
    users = list(simulation.users)
    one_by_one = [update for _, update in engine.answer(request, users)]
    assert max(update.norm for update in one_by_one) == pytest.approx(0.01, rel=1e-5)
    merged = [update for _, update in engine.answer(replace(request, merge=True), users)]
    total = np.sum([update.vector for update in merged], axis=0, dtype=np.float64)
    apart = np.sum([update.vector for update in one_by_one], axis=0, dtype=np.float64)
    assert total == pytest.approx(apart, abs=1e-7)


@pytest.mark.parametrize("pair", [(8.0, 8.0000001), (1e-9, 1.00001e-9), (1000.4, 1000.3)])
def test_budgets_that_would_be_shown_alike_are_refused(pair):
    with pytest.raises(ConfigError, match="the same in the four digits that are shown"):
        _refuse_alike([2.0, *pair])
    _refuse_alike([2.0, 8.0, 8.001, 0.5, math.inf])
