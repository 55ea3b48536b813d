"""Roles mean the right layers of every family; what a backbone lacks is refused in one line."""

import pytest

from shared.errors import ConfigError
from shared.model.backbone import load, resolve
from shared.model.lora import ROLES, target_layers
from simulations.world.world import World
from tests.support.tiny import FAMILIES, make_engine

# Within one block, by family: what each role means.
MEANT = {
    "bert": {
        "query": ["attention.self.query"],
        "key": ["attention.self.key"],
        "value": ["attention.self.value"],
        "output": ["attention.output.dense"],
        "mlp": ["intermediate.dense", "output.dense"],
    },
    "qwen2": {
        "query": ["self_attn.q_proj"],
        "key": ["self_attn.k_proj"],
        "value": ["self_attn.v_proj"],
        "output": ["self_attn.o_proj"],
        "mlp": ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"],
    },
    "gpt2": {
        "query": ["attn.c_attn"],
        "key": ["attn.c_attn"],
        "value": ["attn.c_attn"],
        "output": ["attn.c_proj"],
        "mlp": ["mlp.c_fc", "mlp.c_proj"],
    },
}
MEANT["llama"] = MEANT["qwen2"]
FIRST = {"bert": "encoder.layer.0.", "qwen2": "layers.0.", "llama": "layers.0.", "gpt2": "h.0."}


@pytest.fixture(scope="module")
def models(backbones):
    return {family: load(resolve(str(backbones(family)))) for family in FAMILIES}


def in_first_block(model, family, targets):
    first = FIRST[family]
    found = target_layers(model, targets)
    assert len(found) == 2 * len([name for name in found if name.startswith(first)])
    return [name.removeprefix(first) for name in found if name.startswith(first)]


@pytest.mark.parametrize("family", FAMILIES)
def test_roles(models, family):
    model = models[family]
    for role, layers in MEANT[family].items():
        assert sorted(in_first_block(model, family, [role])) == sorted(layers), role
    both = MEANT[family]["output"] + MEANT[family]["mlp"]
    assert sorted(in_first_block(model, family, ["dense"])) == sorted(both)
    assert set(ROLES) == {*MEANT[family], "dense"}


def test_layers_may_be_named_as_the_backbone_does_and_each_is_taken_once(models):
    assert in_first_block(models["qwen2"], "qwen2", ["up_proj", "mlp.up_proj", "query"]) == [
        "self_attn.q_proj",
        "mlp.up_proj",
    ]
    assert target_layers(models["gpt2"], ["h.1.attn.c_attn"]) == ["h.1.attn.c_attn"]
    assert in_first_block(models["gpt2"], "gpt2", ["query", "value"]) == ["attn.c_attn"]


@pytest.mark.parametrize("name", ["nothing", "uery", "q.proj", "layers"])
def test_what_a_backbone_lacks_is_refused_with_what_it_has(models, name):
    with pytest.raises(ConfigError) as caught:
        target_layers(models["llama"], ["query", name])
    message = str(caught.value)
    assert f"{name!r} is no linear layer of this backbone" in message
    assert "roles (query, key, value, output, mlp, dense)" in message
    assert "layers (down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj)" in message


@pytest.mark.parametrize("family", FAMILIES)
def test_the_default_targets_fit_every_family(family, backbones):
    world = World(users=2, items=30)
    schema = make_engine(world, backbones(family), lora_targets=("query", "value")).schema
    lora = [name for name in schema.names if "lora_" in name]
    assert len(lora) == 2 * 2 * (1 if family == "gpt2" else 2)  # A and B, two blocks


def test_without_peft_a_rank_is_refused_in_one_line(backbones, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    world = World(users=2, items=30)
    make_engine(world, backbones("bert"), lora_rank=0)
    with pytest.raises(ConfigError, match="lora_rank = 2: needs the package peft"):
        make_engine(world, backbones("bert"))
