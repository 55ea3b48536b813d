"""Exposure corrected for in the loss: what targets count, the same in every way to gradients."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from client.device.device import Device
from client.training.gradients import opacus_gradients, stacked_gradients
from client.training.train import local_update, window_loss
from client.training.weights import BIAS, item_weights, weights_of
from shared.config import from_dict, settings_hash, to_dict
from shared.config.rules import check_together
from shared.errors import ConfigError
from shared.model.adapter import TargetWeights
from shared.privacy.contribution.bound import bounded
from shared.privacy.contribution.clipping import L2Clip
from simulations.engine.packed import PackedGradients
from simulations.world.world import World
from tests.support.asking import asked
from tests.support.federations import point_config
from tests.support.tiny import make_engine, random_adapter, relative

ITEMS, LENGTH, LIMIT = 40, 8, 1e-4
CORRECTED = {"correction": "ips", "weight_bound": 3.0}


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=6, items=ITEMS), tiny_bert)


def drawn(clients, windows):
    generator = torch.Generator().manual_seed(0)
    shape = (clients, windows, LENGTH)
    return (torch.randint(-1, ITEMS, shape, generator=generator) for _ in range(2))


def weights(kind, seed=1):
    of_items = torch.from_numpy(np.random.default_rng(seed).gamma(0.5, 2, ITEMS))
    return TargetWeights(of_items.float(), kind == "snips")


def by_hand(engine, theta, inputs, targets, kind):
    """The gradient of one client's loss, target by target."""
    own = weights(kind)
    vector = theta.clone().requires_grad_(True)
    tensors = engine.schema.trainable.unflatten(vector)
    scores = torch.func.functional_call(engine.recommender, tensors, (inputs,))
    total, counts, sums = 0.0, 0, 0.0
    for window, place in np.argwhere(targets.numpy() >= 0):
        target = targets[window, place]
        total = total - own.of_items[target] * scores[window, place].log_softmax(0)[target]
        counts, sums = counts + 1, sums + float(own.of_items[target])
    loss = total / (sums if kind == "snips" else counts)
    return torch.autograd.grad(loss, vector)[0]


@pytest.mark.parametrize("kind", ["ips", "snips"])
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_every_way_to_gradients_is_that_by_hand(engine, kind):
    schema, own = engine.schema.trainable, weights(kind)
    theta, (inputs, targets) = random_adapter(schema), drawn(3, 2)
    hand = [by_hand(engine, theta, *one, kind) for one in zip(inputs, targets, strict=True)]
    expected = torch.stack(hand)
    packed = PackedGradients(engine.recommender, schema, None, own)
    spread = theta.expand(3, -1)
    assert relative(packed.by_client(spread, inputs, targets), expected) < LIMIT
    assert relative(packed.together(theta, inputs, targets), expected.sum(0)) < LIMIT
    delta, _ = local_update(engine.recommender, schema, theta, inputs[:1], targets[:1], 1.0, 0.0,
                            None, own)  # fmt: skip
    assert relative(-delta, expected[0]) < 10 * LIMIT
    alone = torch.stack(
        [by_hand(engine, theta, inputs[0, w][None], targets[0, w][None], kind) for w in range(2)]
    )
    for make in (opacus_gradients, stacked_gradients):
        found = make(engine.recommender, schema, None, own)(theta[None], inputs[:1], targets[:1])
        assert relative(found[0], alone) < LIMIT
    assert relative(packed.by_window(theta[None], inputs[:1], targets[:1])[0], alone) < LIMIT
    plain = PackedGradients(engine.recommender, schema).by_client(spread, inputs, targets)
    assert relative(plain, expected) > 0.1  # otherwise nothing was weighted


def test_equal_weights_are_none(engine):
    schema = engine.schema.trainable
    theta, (inputs, targets) = random_adapter(schema), drawn(1, 2)
    tensors = schema.unflatten(theta)
    plain = window_loss(engine.recommender, tensors, inputs[0], targets[0])
    for kind in (False, True):
        alike = TargetWeights(torch.ones(ITEMS), kind)
        found = window_loss(engine.recommender, tensors, inputs[0], targets[0], alike)
        assert float(found) == pytest.approx(float(plain), rel=1e-6)


def test_a_target_of_usual_popularity_counts_one():
    counts = np.array([64.0, 16.0, 4.0, 1.0])
    found = item_weights(torch.from_numpy(np.log(counts)), bound=100.0).numpy()
    assert found / found[0] == pytest.approx([1, 2, 4, 8])  # one over the root
    assert (counts / counts.sum() * found).sum() == pytest.approx(1)
    cut = item_weights(torch.from_numpy(np.log(counts)), bound=2.0).numpy()
    assert cut == pytest.approx(np.minimum(found, 2))


@given(
    bias=st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=20),
    bound=st.floats(1, 1e6),
)
def test_weights_are_within_their_bound_whatever_the_bias(bias, bound):
    found = item_weights(torch.tensor(bias), bound)
    assert torch.isfinite(found).all()
    assert float(found.min()) >= 0
    assert float(found.max()) <= bound * (1 + 1e-6)


@settings(max_examples=6, deadline=None)
@given(scale=st.floats(0, 1e6), seed=st.integers(0, 99), kind=st.sampled_from(["ips", "snips"]))
def test_what_one_person_contributes_is_bounded_whatever_the_weights(
    engine, tiny_bert, scale, seed, kind
):
    """So sensitivity, noise and accountants are those of training without weights."""
    config = point_config(tiny_bert, train={"correction": kind})
    norm = config.privacy.clipping_norm
    schema, (inputs, targets) = engine.schema.trainable, drawn(2, 2)
    own = weights(kind, seed)
    own = dataclasses.replace(own, of_items=own.of_items * scale)
    packed = PackedGradients(engine.recommender, schema, None, own)
    theta = random_adapter(schema).expand(2, -1)
    deltas, _ = bounded(-packed.by_client(theta, inputs, targets), config, norm)
    assert float(deltas.norm(dim=1).max()) <= norm * (1 + 1e-6)
    windows = L2Clip(norm)(packed.by_window(theta, inputs, targets).flatten(0, 1))
    assert float(windows.norm(dim=1).max()) <= norm * (1 + 1e-6)


def test_a_device_weighs_by_what_it_was_sent(engine, tiny_bert):
    """The cohort engine and the device alike, and neither as without."""
    population, arrays = (
        engine.population,
        engine.schema.split(random_adapter(engine.schema).numpy()),
    )
    updates = {}
    for name, train in (("plain", {}), ("corrected", CORRECTED)):
        config = point_config(tiny_bert, epsilon=math.inf, train=train)
        request = asked(config, number=1, arrays=arrays)
        device = Device(population.history(2), 2, engine.recommender, simulated=True)
        ((_, cohort),) = engine.answer(request, [2])
        updates[name] = device.answer(request).vector
        assert relative(cohort.vector, updates[name]) < LIMIT
        own = weights_of(config, engine.schema.unflatten(random_adapter(engine.schema)))
        assert (own is None) == (name == "plain")
    assert relative(updates["corrected"], updates["plain"]) > 0.02


def test_it_is_the_bias_that_says_how_popular_items_are(tiny_bert):
    config = point_config(tiny_bert, train=CORRECTED)
    adapter = {BIAS: torch.arange(3.0)[:, None]}
    found = weights_of(config, adapter)
    assert found.of_items.tolist() == item_weights(torch.arange(3.0), 3.0).tolist()


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"train": {"weight_bound": 3.0}}, "train.weight_bound = 3 is of train.correction"),
        ({"train": {"correction": "ips"}, "model": {"item_bias": False},
          "federation": {"popularity_start": False}}, "needs model.item_bias = true"),
        ({"train": {"correction": "ips"}, "federation": {"popularity_start": False}},
         "needs federation.popularity_start = true"),
        ({"train": {"correction": "dr"}}, "Input should be 'ips' or 'snips'"),
        ({"train": {"correction": "ips", "weight_bound": 0.5}}, "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_settings_that_say_nothing_are_refused(tree, told):
    with pytest.raises(ConfigError, match=told):
        check_together(from_dict(tree), "settings")


def test_who_corrects_nothing_has_the_settings_of_before(tiny_bert):
    plain, corrected = point_config(tiny_bert), point_config(tiny_bert, train=CORRECTED)
    assert not {"correction", "weight_bound"} & to_dict(plain)["train"].keys()
    assert CORRECTED.items() <= to_dict(corrected)["train"].items()
    assert settings_hash(plain) != settings_hash(corrected)
