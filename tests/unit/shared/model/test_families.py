"""Every family of backbones: causal, cut, padding-proof, and differentiated alike three ways."""

import copy

import numpy as np
import pytest
import torch
from opacus.grad_sample import GradSampleHooks
from torch.nn import functional

from client.training.gradients import introduce_layers
from client.training.train import window_loss
from shared.model.adapter import install
from shared.model.backbone import blocks
from simulations.world.world import World
from tests.support.tiny import FAMILIES, LENGTH, make_engine, random_adapter, relative, save_tiny

ITEMS, SAMPLES, CLIENTS = 30, 3, 2
TEXT = "read what follows"  # 15 letters, 15 tokens
VARIANTS = {
    "plain": {},
    "instruction": {"instruction": TEXT},
    "int8": {"weights": "int8"},
    "int4": {"weights": "int4"},
    "wider items": {},
    "wider items, instruction": {"instruction": TEXT},
}
ALONE = {"affinity_scale": 0.0, "hidden_scale": 1.0}  # a path around it would hide its errors
CASES = [(family, "plain") for family in FAMILIES]
CASES += [("bert", "instruction"), ("qwen2", "instruction"), ("gpt2", "int8"), ("llama", "int4")]
CASES += [("gguf-llama", "plain"), ("gguf-llama", "int8"), ("gguf-qwen2", "instruction")]
# A reader of another width than its items, which come of another model.
CASES += [("bert", "wider items"), ("gguf-llama", "wider items, instruction")]


@pytest.fixture(scope="module")
def engines(backbones, tmp_path_factory):
    built = {}
    encoder = save_tiny(tmp_path_factory.mktemp("wide"), "bert", hidden_size=40)
    world = World(users=2, items=ITEMS)

    def engine(family, variant):
        if (family, variant) not in built:
            more = VARIANTS[variant] | ALONE
            if variant.startswith("wider items"):
                more |= {"items": str(encoder)}
            built[family, variant] = make_engine(world, backbones(family), **more)
        return built[family, variant]

    return engine


@pytest.fixture(params=CASES, ids="-".join)
def engine(request, engines):
    return engines(*request.param)


def batches(shape, seed=0):
    """Windows with starts and places without a target."""
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, ITEMS, (*shape, LENGTH))
    inputs[..., 0] = -1
    targets = rng.integers(-1, ITEMS, (*shape, LENGTH))
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def loss_of(engine):
    def loss(vector, window, wanted):
        tensors = engine.schema.trainable.unflatten(vector)
        return window_loss(engine.recommender, tensors, window[None], wanted[None])

    return loss


def installed(engine, vector):
    own = copy.deepcopy(engine.recommender)
    install(own, engine.schema.trainable, vector)
    return own


def by_backward(engine, vector, window, wanted):
    """The gradient of one window as any PyTorch programme takes it."""
    model = installed(engine, vector)
    scores = model(window[None])
    functional.cross_entropy(scores[0], wanted, ignore_index=-1).backward()
    own = dict(model.named_parameters())
    return engine.schema.trainable.flatten(
        {name: own[name].grad for name in engine.schema.trainable.names}
    )


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_gradients_agree_three_ways(engine):
    """Nested vmap of clients and windows, a loop of backward passes, and Opacus' hooks."""
    inputs, targets = batches((CLIENTS, SAMPLES))
    adapters = torch.stack(
        [random_adapter(engine.schema.trainable, seed) for seed in range(CLIENTS)]
    )
    windows = torch.func.vmap(torch.func.grad(loss_of(engine)), in_dims=(None, 0, 0))
    nested = torch.func.vmap(windows)(adapters, inputs, targets)  # [clients, samples, dim]
    for client in range(CLIENTS):
        hooked = by_hooks(engine, adapters[client], inputs[client], targets[client])
        for sample in range(SAMPLES):
            looped = by_backward(
                engine, adapters[client], inputs[client, sample], targets[client, sample]
            )
            assert relative(nested[client, sample], looped) < 1e-5
            assert relative(hooked[sample], looped) < 1e-5
            for name in engine.schema.trainable.names:
                assert looped[engine.schema.trainable.slice_of(name)].norm() > 0, name


def by_hooks(engine, vector, inputs, targets):
    model = installed(engine, vector)
    introduce_layers()
    hooks = GradSampleHooks(model, loss_reduction="sum")
    losses = functional.cross_entropy(
        model(inputs).transpose(1, 2), targets, ignore_index=-1, reduction="none"
    )
    (losses.sum(1) / (targets >= 0).sum(1)).sum().backward()
    own = dict(model.named_parameters())
    found = engine.schema.trainable.flatten(
        {name: own[name].grad_sample for name in engine.schema.trainable.names}
    )
    hooks.cleanup()
    return found


def read(model, inputs):
    return model._read(model._embed(inputs), inputs >= 0)


def adapted(engine):
    return installed(engine, random_adapter(engine.schema.trainable)).requires_grad_(False)


@pytest.mark.parametrize("place", [1, LENGTH - 1])
def test_a_later_item_does_not_change_earlier_scores(engine, place):
    model, (inputs, _) = adapted(engine), batches((4,))
    other = inputs.clone()
    other[:, place] = (other[:, place] + 7) % ITEMS
    before, after = read(model, inputs), read(model, other)
    torch.testing.assert_close(before[:, :place], after[:, :place], rtol=1e-4, atol=1e-5)
    assert (before[:, place] - after[:, place]).abs().amax(-1).min() > 1e-3


def test_the_language_model_reads_the_order(engine):
    """Not only the latest item: what came before changes what is read from it."""
    model, (inputs, _) = adapted(engine), batches((4,))
    other = inputs.clone()
    other[:, 1] = (other[:, 1] + 7) % ITEMS
    before, after = read(model, inputs), read(model, other)
    assert (before[:, -1] - after[:, -1]).abs().amax(-1).min() > 1e-4


def test_padding_on_the_right_changes_nothing(engine):
    model, (inputs, _) = adapted(engine), batches((4,))
    padded = torch.cat([inputs, torch.full((4, 5), -1)], dim=1)
    torch.testing.assert_close(model(padded)[:, :LENGTH], model(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_layer_alone_and_the_last_norm(family, engines, backbones):
    whole = engines(family, "plain").recommender.backbone
    cut = make_engine(World(users=2, items=ITEMS), backbones(family), layers=1).recommender.backbone
    assert (len(blocks(whole)), len(blocks(cut))) == (2, 1)
    last = {"qwen2": "norm", "llama": "norm", "gpt2": "ln_f"}.get(family)
    assert last is None or torch.equal(
        cut.get_submodule(last).weight, whole.get_submodule(last).weight
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_add_up_to_the_scores(family, engines):
    model = adapted(engines(family, "plain"))
    window = batches((1,))[0][0]
    parts = model.parts(model.state(window))
    torch.testing.assert_close(parts.total, model(window[None])[0, -1], rtol=1e-4, atol=1e-4)
