"""Recomputed blocks: the same gradients, a fraction of the memory, and where it is refused."""

import copy

import pytest
import torch
from opacus.grad_sample import GradSampleHooks

from client.training.gradients import introduce_layers
from client.training.train import local_update
from shared.errors import ConfigError
from shared.model.recompute import recompute_blocks
from simulations.engine.placement import peak_bytes
from simulations.world.world import World
from tests.support.tiny import (
    FAMILIES,
    LENGTH,
    make_engine,
    random_adapter,
    relative,
    save_tiny,
)

WORLD = World(users=2, items=30)
KEPT, RECOMPUTED = ({"device": "cpu", "checkpointing": flag} for flag in (False, True))


def windows(clients=3, count=2, length=LENGTH):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(-1, 30, (clients, 1, count, length), generator=generator)
    return inputs, inputs.roll(-1, -1)


def deltas(engine, inputs, targets, steps=1):
    """Two local steps of each client, under vmap."""
    start = random_adapter(engine.schema.trainable)

    def one(a, b):
        a, b = a.expand(steps, *a.shape[1:]), b.expand(steps, *b.shape[1:])
        return local_update(engine.recommender, engine.schema.trainable, start, a, b, 0.3, 0.0)[0]

    return torch.func.vmap(one)(inputs, targets)


@pytest.mark.parametrize("weights", ["full", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_updates_are_the_same_and_so_are_the_names(family, weights, backbones):
    if weights == "int8" and family not in ("gpt2", "qwen2"):
        pytest.skip("one of either kind is enough")
    more = {"weights": weights, "instruction": "read", "affinity_scale": 0.0, "hidden_scale": 1.0}
    kept = make_engine(WORLD, backbones(family), engine=KEPT, **more)
    again = make_engine(WORLD, backbones(family), engine=RECOMPUTED, **more)
    assert again.schema == kept.schema
    found, expected = (deltas(e, *windows(), steps=2) for e in (again, kept))
    assert relative(found, expected) < 1e-5
    for name in kept.schema.trainable.names:
        assert expected[:, kept.schema.trainable.slice_of(name)].norm() > 0, name


def test_a_backward_pass_of_any_programme_too(backbones):
    engines = [make_engine(WORLD, backbones("llama"), engine=e) for e in (KEPT, RECOMPUTED)]
    gradients = []
    for engine in engines:
        theta = random_adapter(engine.schema.trainable).requires_grad_()
        scores = torch.func.functional_call(
            engine.recommender, engine.schema.trainable.unflatten(theta), (windows()[0][:, 0, 0],)
        )
        gradients.append(torch.autograd.grad(scores.logsumexp(-1).sum(), theta)[0])
    assert relative(*gradients) < 1e-5


def test_memory_falls(tmp_path):
    """Eight layers under vmap: what stays is one block's activations instead of eight's."""
    folder = save_tiny(tmp_path, "llama", num_hidden_layers=8)
    peaks = []
    for settings in (KEPT, RECOMPUTED):
        engine = make_engine(WORLD, folder, engine=settings)
        work = windows(clients=4, length=32)
        peaks.append(peak_bytes(lambda e=engine, w=work: deltas(e, *w), torch.device("cpu")))
    assert peaks[1] < peaks[0] / 3


def test_a_second_derivative_is_refused_not_wrong(backbones):
    engine = make_engine(WORLD, backbones("qwen2"), engine=RECOMPUTED)
    theta = random_adapter(engine.schema.trainable).requires_grad_()
    scores = torch.func.functional_call(
        engine.recommender, engine.schema.trainable.unflatten(theta), (windows()[0][0, 0],)
    )
    (gradient,) = torch.autograd.grad(scores.square().sum(), theta, create_graph=True)
    with pytest.raises(ConfigError, match="second derivatives are not kept"):
        torch.autograd.grad(gradient.square().sum(), theta)


def test_hooks_of_per_sample_gradients_are_refused(backbones):
    model = copy.deepcopy(make_engine(WORLD, backbones("gpt2"), engine=RECOMPUTED).recommender)
    introduce_layers()
    hooks = GradSampleHooks(model, loss_reduction="sum")
    with pytest.raises(ConfigError, match="checkpointing = true: not together with per-sample"):
        model(windows()[0][0, 0])
    hooks.cleanup()


def test_a_backbone_without_known_blocks_is_refused():
    with pytest.raises(ConfigError, match="the blocks of Linear cannot be recomputed"):
        recompute_blocks(torch.nn.Linear(2, 2))
