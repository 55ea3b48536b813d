"""bf16: the frozen backbone computes in it, everything that is trained stays float32."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from shared.model.backbone import load, resolve
from simulations.world.world import World
from tests.support.asking import trained
from tests.support.federations import point_config
from tests.support.tiny import FAMILIES, make_engine, random_adapter, relative

WORLD = World(users=6, items=30)
EXACT = {"device": "cpu"}
BF16 = {"device": "cpu", "dtype": "bf16"}
ALONE = {"affinity_scale": 0.0, "hidden_scale": 1.0}  # a path around the backbone would hide errors


def updates(engine, backbone, merge=False, epsilon=2.0):
    config = point_config(backbone, epsilon=epsilon)
    adapter = random_adapter(engine.schema)
    found = trained(engine, range(6), adapter, config, merge=merge)
    return {tuple(members): torch.from_numpy(update.vector) for members, update in found}


@pytest.mark.parametrize("family", FAMILIES)
def test_updates_stay_close_to_those_of_float32(family, backbones):
    folder = backbones(family)
    exact, rough = (
        make_engine(WORLD, folder, engine=e, **ALONE) for e in ({"device": "cpu"}, BF16)
    )
    assert exact.schema == rough.schema
    expected, found = updates(exact, folder), updates(rough, folder)
    for member, vector in found.items():
        assert vector.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(vector, expected[member], dim=0) > 0.99
        assert relative(vector, expected[member]) > 1e-5  # it was another computation


def test_what_is_trained_and_scored_is_float32_and_what_is_frozen_is_not(backbones):
    engine = make_engine(WORLD, backbones("qwen2"), engine=BF16, instruction="read")
    for name, parameter in engine.recommender.named_parameters():
        frozen = name.startswith("backbone") and "lora_" not in name
        assert parameter.dtype == (torch.bfloat16 if frozen else torch.float32), name
    frequencies = engine.recommender.backbone.rotary_emb.inv_freq
    assert frequencies.dtype == torch.float32  # positions would blur in eight bits
    assert engine.recommender(torch.zeros(1, 3, dtype=torch.int64)).dtype == torch.float32


def test_in_eight_bit_too(backbones):
    folder = backbones("llama")
    exact = make_engine(WORLD, folder, weights="int8", **ALONE)
    rough = make_engine(WORLD, folder, engine=BF16, weights="int8", **ALONE)
    expected, found = updates(exact, folder), updates(rough, folder)
    for member, vector in found.items():
        assert torch.nn.functional.cosine_similarity(vector, expected[member], dim=0) > 0.99


def test_without_privacy_one_gradient_for_all(backbones):
    folder = backbones("gpt2")
    exact, rough = (
        make_engine(WORLD, folder, engine=e, **ALONE) for e in ({"device": "cpu"}, BF16)
    )
    (expected,) = updates(exact, folder, merge=True, epsilon=float("inf")).values()
    (found,) = updates(rough, folder, merge=True, epsilon=float("inf")).values()
    assert torch.nn.functional.cosine_similarity(found, expected, dim=0) > 0.99


def test_weights_published_in_bf16_are_read_as_float32(backbones, tmp_path):
    whole = Path(backbones("qwen2"))
    weights = load_file(whole / "model.safetensors")
    halved = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    save_file(halved, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((whole / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    model = load(resolve(str(tmp_path)))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
