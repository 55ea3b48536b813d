"""Directions of the frozen weights: a core or a pair between them changes nothing at the start."""

import numpy as np
import pytest
import torch

from shared.aggregation.selective import cores, downs, ups
from shared.errors import ConfigError
from shared.model.adapter import current, install
from shared.model.directions import CoredLinear, components, leading
from simulations.world.world import World
from tests.support.tiny import FAMILIES, make_engine, random_adapter, relative

WORLD = World(users=3, items=40)


@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (6, 6)])
def test_leading_directions_are_the_svds(shape):
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=shape)).float()
    up, down = leading(weight, 3)
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    best = u[:, :3] @ torch.diag(s[:3]) @ vt[:3]
    assert relative(up @ down, best) < 1e-5  # the nearest matrix of that rank
    assert relative(down @ down.T, torch.eye(3)) < 1e-5
    np.testing.assert_allclose(up.norm(dim=0), s[:3], rtol=1e-5)
    assert (down.gather(1, down.abs().argmax(1, keepdim=True)) > 0).all()


def test_a_weight_of_low_rank_is_no_trouble():
    up, down = leading(torch.ones(4, 6), 3)
    assert torch.isfinite(up).all()
    assert torch.isfinite(down).all()
    assert relative(up @ down, torch.ones(4, 6)) < 1e-5


@pytest.fixture(scope="module", params=FAMILIES)
def engine(request, backbones):
    return make_engine(WORLD, backbones(request.param), factors="core")


def test_every_pair_has_a_core_and_none_moves_the_model_at_the_start(engine, backbones):
    names = engine.schema.names
    assert len(cores(names)) == len(downs(names)) == len(ups(names)) > 0
    inputs = torch.tensor([[-1, 3, 5, 2]])
    start = engine.recommender(inputs).detach()
    adapter = current(engine.recommender, engine.schema)
    try:
        for name in cores(names):
            assert not adapter[engine.schema.slice_of(name)].any()
            moved = adapter.clone()
            moved[engine.schema.slice_of(name)] = 5.0
            install(engine.recommender, engine.schema, moved)
            assert relative(engine.recommender(inputs).detach(), start) > 1e-6, name
    finally:
        install(engine.recommender, engine.schema, adapter)
    assert relative(engine.recommender(inputs).detach(), start) == 0


def test_a_core_is_b_r_a(backbones):
    """Against the product with a weight that has the correction written into it."""
    engine = make_engine(WORLD, backbones("bert"), factors="core", lora_targets=("query",))
    install(engine.recommender, engine.schema, random_adapter(engine.schema))
    layer = next(m for m in engine.recommender.modules() if hasattr(m, "lora_A"))
    down, up = layer.lora_A["default"], layer.lora_B["default"]
    assert isinstance(up, CoredLinear)
    correction = up.up.weight @ up.core.weight @ down.weight
    x = torch.randn(3, down.in_features, generator=torch.Generator().manual_seed(0))
    expected = layer.base_layer(x) + 8 * x @ correction.T  # lora_alpha 16 over rank 2
    assert relative(layer(x).detach(), expected.detach()) < 1e-5


def test_every_machine_draws_the_same(backbones):
    one, other = (make_engine(WORLD, backbones("bert"), factors="core") for _ in range(2))
    assert torch.equal(*(current(e.recommender, e.schema) for e in (one, other)))


def test_more_directions_than_a_layer_has_are_refused(backbones):
    with pytest.raises(ConfigError, match=r"lora_rank = 33.*directions.*one has 32"):
        make_engine(WORLD, backbones("bert"), factors="core", lora_rank=33)


@pytest.mark.parametrize("factors", ["core", "principal"])
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_directions_are_of_the_weights_before_they_are_rounded(weights, factors, backbones):
    plain, rounded = (
        make_engine(WORLD, backbones("bert"), factors=factors, weights=kind)
        for kind in ("full", weights)
    )
    assert torch.equal(*(current(e.recommender, e.schema) for e in (plain, rounded)))


@pytest.mark.parametrize("factors", ["core", "principal"])
def test_bf16_keeps_all_that_is_trained_in_float32(factors, backbones):
    engine = make_engine(
        WORLD, backbones("bert"), factors=factors, engine={"device": "cpu", "dtype": "bf16"}
    )
    assert current(engine.recommender, engine.schema).dtype == torch.float32
    assert torch.isfinite(engine.recommender(torch.tensor([[-1, 3, 5]]))).all()


def test_components_have_unit_spread_over_the_items():
    table = torch.from_numpy(np.random.default_rng(1).normal(size=(50, 8))).float()
    table = (table - table.mean(0)) * torch.logspace(0, -2, 8)
    seen = table @ components(table, 5).T  # [items, 5]
    assert relative(seen.T @ seen / len(table), torch.eye(5)) < 1e-4


def test_directions_in_which_items_have_nothing_read_nothing():
    flat = torch.tensor([[1.0, 2.0, 0.0], [-1.0, -2.0, 0.0]])
    found = components(flat, 2)
    assert torch.isfinite(found).all()
    assert not found[1].any()
    assert relative((flat @ found[0]) ** 2, torch.ones(2)) < 1e-6
    assert not components(torch.zeros(4, 3), 2).any()


def test_principal_pairs_read_what_the_layer_reads_most(backbones):
    engine = make_engine(WORLD, backbones("bert"), factors="principal", lora_targets=("query",))
    layer = engine.recommender.backbone.encoder.layer[0].attention.self.query
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    vt = torch.linalg.svd(layer.base_layer.weight.detach()).Vh[: len(down)]
    assert relative((down.detach() @ vt.T).abs(), torch.eye(len(down))) < 1e-4  # up to signs
    assert not up.any()


def test_ranks_beyond_what_there_is(backbones):
    """Of texts all that there are, as the core does; of a layer it is refused."""
    engine = make_engine(WORLD, backbones("bert"), factors="principal", item_rank=33)
    assert engine.recommender.item_down.weight.shape == (32, 32)
    assert engine.recommender.item_out.weight.shape == (40, 32)
    with pytest.raises(ConfigError, match=r"lora_rank = 33.*fedsb and principal.*one has 32"):
        make_engine(WORLD, backbones("bert"), factors="principal", lora_rank=33)
