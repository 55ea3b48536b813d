"""Weights in 8 and 4 bit: how far they are off, what they save, and that they train."""

import copy

import pytest
import torch
from torch import nn

from client.training.train import local_update
from shared.model.layers import linear_layers
from shared.model.quantize import GROUP, QuantizedLinear, quantize
from simulations.world.world import World
from tests.support.tiny import LENGTH, make_engine, random_adapter, relative

BITS = ("int8", "int4")


def matrix(rows=24, columns=96, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = torch.logspace(-6, 3, rows)[:, None]  # rows of very different magnitude
    return size * torch.randn(rows, columns, generator=generator)


@pytest.mark.parametrize("columns", [96, 50])  # whole groups, and a part of one
def test_no_weight_is_off_by_more_than_half_a_step(columns):
    weight = matrix(columns=columns)
    eight = QuantizedLinear(weight, None, "int8").weight(torch.float32)
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((eight - weight).abs() <= step * 0.5001).all()
    four = QuantizedLinear(weight, None, "int4").weight(torch.float32)
    for start in range(0, columns, GROUP):
        part = slice(start, start + GROUP)
        step = weight[:, part].abs().amax(1, keepdim=True) / 7
        assert ((four - weight)[:, part].abs() <= step * 0.5001).all()
    assert relative(eight, weight) < 0.01
    assert 0.01 < relative(four, weight) < 0.12


def test_zero_rows_stay_zero():
    layer = QuantizedLinear(torch.zeros(2, GROUP), None, "int4")
    assert not layer.weight(torch.float32).any()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_multiplies_and_differentiates_as_the_written_out_matrix(bits, dtype):
    bias = torch.arange(24.0)
    layer = QuantizedLinear(matrix(), bias, bits)
    whole = nn.Linear(96, 24, dtype=dtype)
    whole.load_state_dict({"weight": layer.weight(dtype), "bias": bias.to(dtype)})
    x = torch.randn(5, 3, 96, generator=torch.Generator().manual_seed(1)).to(dtype)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    rounding = 1e-6 if dtype == torch.float32 else 1e-2
    assert relative(layer(mine).detach().float(), whole(theirs).detach().float()) < rounding
    layer(mine).square().sum().backward()
    whole(theirs).square().sum().backward()
    assert relative(mine.grad.float(), theirs.grad.float()) < rounding


def written_out(backbone):
    """The same backbone with the rounded weights in floating point."""
    own = copy.deepcopy(backbone)
    for name, module in list(own.named_modules()):
        if isinstance(module, QuantizedLinear):
            layer = nn.Linear(module.in_features, module.out_features, module.bias is not None)
            state = {"weight": module.weight(torch.float32), "bias": module.bias}
            layer.load_state_dict({k: v for k, v in state.items() if v is not None})
            owner, _, last = name.rpartition(".")
            setattr(own.get_submodule(owner), last, layer.requires_grad_(False))
    return own


@pytest.mark.parametrize(
    ("family", "bits"), [("qwen2", "int8"), ("gpt2", "int4"), ("bert", "int4")]
)
def test_trains_as_a_float_model_that_holds_the_rounded_weights(family, bits, backbones):
    engine = make_engine(World(users=2, items=30), backbones(family), weights=bits)
    inputs = torch.arange(2 * LENGTH).view(1, 2, LENGTH)
    start = random_adapter(engine.schema.trainable)
    update = (engine.schema.trainable, start, inputs, inputs.roll(-1, -1), 0.3, 0.0)
    delta, _ = local_update(engine.recommender, *update)
    plain = copy.deepcopy(engine.recommender)
    plain.backbone = written_out(plain.backbone)
    assert not any(isinstance(m, QuantizedLinear) for m in plain.modules())
    expected, _ = local_update(plain, *update)
    assert relative(delta, expected) < 1e-5
    full = make_engine(World(users=2, items=30), backbones(family))
    assert full.schema.digest == engine.schema.digest
    unrounded, _ = local_update(full.recommender, *update)
    assert 1e-5 < relative(delta, unrounded) < 0.3


def size_of(module):
    return sum(t.numel() * t.element_size() for t in [*module.parameters(), *module.buffers()])


def test_memory_falls():
    model = nn.Sequential(nn.Linear(256, 512), nn.Linear(512, 256)).requires_grad_(False)
    whole = size_of(model)
    for bits, least in (("int8", 3.9), ("int4", 6.2)):
        small = copy.deepcopy(model)
        quantize(small, bits)
        assert whole / size_of(small) > least
        assert not linear_layers(small)


def test_nothing_that_trains_is_rounded(backbones):
    engine = make_engine(World(users=2, items=30), backbones("llama"), weights="int4")
    left = linear_layers(engine.recommender.backbone)
    assert left
    assert all("lora_" in name for name in left)
    trained = [p for p in engine.recommender.parameters() if p.requires_grad]
    assert all(p.dtype == torch.float32 for p in trained)
