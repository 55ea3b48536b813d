"""Local training against the obvious loop, and per-sample gradients against Opacus."""

import copy

import numpy as np
import pytest
import torch
from opacus.grad_sample import GradSampleHooks
from torch.nn import functional

from client.training.gradients import introduce_layers
from client.training.train import local_update, token_losses, window_loss
from shared.model.adapter import install
from simulations.world.world import World
from tests.support.tiny import LENGTH, make_engine, random_adapter, relative

ITEMS, WINDOWS = 60, 3


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=3, items=ITEMS), tiny_bert)


@pytest.fixture
def model(engine):
    """An ordinary module with the adapter in its own parameters."""
    own = copy.deepcopy(engine.recommender)
    install(own, engine.schema.trainable, random_adapter(engine.schema.trainable))
    return own


def batches(steps=2, seed=0):
    """Windows with padding, starts and positions without a target."""
    rng = np.random.default_rng(seed)
    inputs = rng.integers(-1, ITEMS, (steps, WINDOWS, LENGTH))
    targets = rng.integers(0, ITEMS, (steps, WINDOWS, LENGTH))
    targets[:, 0, LENGTH // 2 :] = -1
    inputs[:, 0, LENGTH // 2 :] = -1
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def plain_loss(scores, targets):
    return functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=-1)


def test_equals_plain_sgd_on_the_module(engine, model):
    inputs, targets = batches()
    start = random_adapter(engine.schema.trainable)
    delta, loss = local_update(
        engine.recommender, engine.schema.trainable, start, inputs, targets, 0.3, 0.02
    )
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.3, weight_decay=0.02)
    first = plain_loss(model(inputs[0]), targets[0]).item()
    for batch, wanted in zip(inputs, targets, strict=True):
        optimizer.zero_grad()
        plain_loss(model(batch), wanted).backward()
        optimizer.step()
    own = dict(model.named_parameters())
    expected = (
        engine.schema.trainable.flatten({n: own[n].detach() for n in engine.schema.trainable.names})
        - start
    )
    assert loss.item() == pytest.approx(first, rel=1e-5)
    for name in engine.schema.trainable.names:  # every factor moves, and moves alike
        where = engine.schema.trainable.slice_of(name)
        assert expected[where].norm() > 0, name
        assert relative(delta[where], expected[where]) < 1e-4, name


def test_the_recommenders_own_adapter_is_neither_used_nor_changed(engine):
    inputs, targets = batches()
    before = {n: p.clone() for n, p in engine.recommender.named_parameters()}
    start = random_adapter(engine.schema.trainable)
    local_update(engine.recommender, engine.schema.trainable, start, inputs, targets, 0.3, 0.0)
    assert torch.equal(start, random_adapter(engine.schema.trainable))
    for name, parameter in engine.recommender.named_parameters():
        assert torch.equal(parameter, before[name]), name


# Item indices and the constant 1 that carries the bias need no gradient: torch remarks on that.
@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_per_sample_gradients_agree_with_opacus(engine, model):
    """One window per sample; LoRA, the tied item table, core and bias all at once."""
    inputs, targets = (part[0] for part in batches(1))
    tensors = engine.schema.trainable.unflatten(random_adapter(engine.schema.trainable))

    def loss(adapter, window, wanted):
        return window_loss(engine.recommender, adapter, window[None], wanted[None])

    batched = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    ours = batched(tensors, inputs, targets)  # each [samples, *shape]
    introduce_layers()
    hooks = GradSampleHooks(model, loss_reduction="sum")
    scores = model(inputs)
    per_window = functional.cross_entropy(
        scores.transpose(1, 2), targets, ignore_index=-1, reduction="none"
    ).sum(1) / (targets >= 0).sum(1)
    per_window.sum().backward()
    own = dict(model.named_parameters())
    worst = {}
    for name in engine.schema.trainable.names:
        assert own[name].grad_sample.shape == ours[name].shape, name
        assert own[name].grad_sample.norm() > 0, name
        worst[name] = relative(own[name].grad_sample, ours[name])
    hooks.cleanup()
    assert max(worst.values()) < 1e-5, worst


def test_without_a_target_the_loss_and_its_gradient_are_zero(engine):
    inputs, targets = batches(1)
    nothing = torch.full_like(targets, -1)
    start = random_adapter(engine.schema.trainable)
    delta, loss = local_update(
        engine.recommender, engine.schema.trainable, start, inputs, nothing, 1.0, 0.0
    )
    assert loss.item() == 0
    assert not delta.any()


def test_no_step_is_no_update(engine):
    inputs, targets = batches(1)
    start = random_adapter(engine.schema.trainable)
    delta, loss = local_update(
        engine.recommender, engine.schema.trainable, start, inputs[:0], targets[:0], 1.0, 0.0
    )
    assert not delta.any()
    assert loss.item() == 0


def test_token_losses_are_cross_entropies_where_there_is_a_target(engine, model):
    inputs, targets = (part[0] for part in batches(1))
    tensors = engine.schema.trainable.unflatten(random_adapter(engine.schema.trainable))
    losses = token_losses(engine.recommender, tensors, inputs, targets)
    expected = functional.cross_entropy(
        model(inputs).transpose(1, 2), targets, ignore_index=-1, reduction="none"
    )
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)


def test_an_unclipped_step_without_noise_moves_every_tensor(engine):
    """Reports describe federations whose loss looks normal while nothing is learned."""
    inputs, targets = batches()
    delta, first = local_update(
        engine.recommender,
        engine.schema.trainable,
        random_adapter(engine.schema.trainable),
        inputs,
        targets,
        0.1,
        0.0,
    )
    for name, tensor in engine.schema.trainable.unflatten(delta).items():
        assert tensor.abs().max() > 0, name
    moved = engine.schema.trainable.unflatten(random_adapter(engine.schema.trainable) + delta)
    assert window_loss(engine.recommender, moved, inputs[0], targets[0]) < first
