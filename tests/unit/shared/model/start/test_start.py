"""A federation begins from a LoRA that plain PEFT made, or says in one line why it does not."""

import contextlib
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from shared.config import ExperimentConfig, ModelConfig, from_dict, to_dict
from shared.errors import ConfigError, ModelError
from shared.model.backbone import resolve
from shared.model.recommender import build_recommender
from shared.model.start import read_start, refuse_same_people, start_of
from tests.support.plain.lora import plain_states, save_lora
from tests.support.tiny import FAMILIES, HIDDEN, LENGTH, relative

LAYERS = {
    "bert": ["query", "value"],
    "qwen2": ["q_proj", "up_proj"],
    "llama": ["q_proj", "o_proj"],
    "gpt2": ["c_attn"],
}
VECTORS = np.eye(12, HIDDEN, dtype=np.float32)


def settings(backbone, start, **model) -> ModelConfig:
    chosen = {"lora_rank": 2, "lora_alpha": 4.0, "lora_targets": ("query", "value"), "layers": 0}
    more = {"max_length": LENGTH, "start": str(start), "start_is_public": True}
    return ModelConfig(backbone=str(backbone), **chosen | more | model)


def begun(config):
    source = resolve(config.backbone)
    return build_recommender(source, VECTORS, config, start=start_of(config, source))


@pytest.mark.parametrize("head", [False, True], ids=["", "of a causal model"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_begins_as_plain_libraries_have_it(family, head, backbones, tmp_path):
    if head and family == "bert":
        pytest.skip("an encoder")
    targets = LAYERS[family]
    lora = save_lora(backbones(family), tmp_path / "lora", head, target_modules=targets)
    config = settings(backbones(family), lora, lora_targets=tuple(read_start(lora).pairs))
    inputs = torch.tensor([[3, 1, 7, 7, 0]])
    model = begun(config)
    with torch.no_grad():
        found = model.read(inputs)[0]
    if not head:
        theirs = plain_states(backbones(family), lora, model.items[inputs[0]])
        assert relative(found, theirs) < 1e-5
    tensors = load_file(lora / "adapter_model.safetensors")
    named = dict(model.named_parameters())
    for name, tensor in tensors.items():
        layer = name.removeprefix("base_model.model.").removesuffix(".weight")
        layer = layer.removeprefix("model." if family != "gpt2" else "transformer.")
        assert torch.equal(named[f"backbone.{layer}.default.weight"], tensor), name


def test_a_scale_of_rank_stabilised_lora_is_its_own(backbones, tmp_path):
    lora = save_lora(backbones("bert"), tmp_path / "lora", use_rslora=True)
    assert read_start(lora).alpha == pytest.approx(4 * 2**0.5)
    model = begun(settings(backbones("bert"), lora, lora_alpha=read_start(lora).alpha))
    inputs = torch.tensor([[3, 1, 7]])
    with torch.no_grad():
        found = model.read(inputs)[0]
    theirs = plain_states(backbones("bert"), lora, model.items[inputs[0]])
    assert relative(found, theirs) < 1e-5


def edited(lora, folder, tensors=None, **values):
    made = shutil.copytree(lora, folder)
    file = made / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    if tensors is not None:
        whole = load_file(made / "adapter_model.safetensors")
        save_file(tensors(whole), made / "adapter_model.safetensors")
    return made


def first(whole, change):
    name = min(whole)
    return whole | {name: change(whole[name]).contiguous()}


REFUSED = {
    "a wrong rank": ({"r": 3}, None, r"A \(2, 32\) and B \(32, 2\): expected \[3, in\]"),
    "no rank": ({"r": "2"}, None, "r = '2': expected a whole number"),
    "no scale": ({"lora_alpha": 0}, None, "lora_alpha = 0: expected a number > 0"),
    "another method": ({"peft_type": "IA3"}, None, "peft_type = 'IA3': expected LORA"),
    "DoRA": ({"use_dora": True}, None, "use_dora = 'True': only plain pairs"),
    "a trained head": ({"modules_to_save": ["score"]}, None, "modules_to_save"),
    "ranks of their own": ({"rank_pattern": {"query": 4}}, None, "rank_pattern"),
    "trained biases": ({"bias": "all"}, None, "bias = 'all'"),
    "what nobody knows yet": ({"use_newest": 1}, None, "use_newest = '1'"),
    "changed base weights": ({"init_lora_weights": "pissa"}, None, "may have changed the base"),
    "no base model": ({"base_model_name_or_path": None}, None, "names no base model"),
    "another base model": (
        {"base_model_name_or_path": "some/other-model"},
        None,
        "is of base model some/other-model, model.backbone is",
    ),
    "one factor": (
        {},
        lambda whole: {name: t for name, t in whole.items() if name != min(whole)},
        "has no lora_A",
    ),
    "no numbers": ({}, lambda w: first(w, lambda t: t * float("nan")), "are not finite"),
    "whole numbers": ({}, lambda w: first(w, lambda t: t.int()), "expected floating-point"),
    "another width": ({}, lambda w: first(w, lambda t: t[:, :7]), "of another base model"),
    "something else beside": (
        {},
        lambda whole: whole | {"base_model.model.score.weight": torch.zeros(2)},
        "'base_model.model.score.weight': only lora_A and lora_B",
    ),
    "no layer": ({}, lambda whole: {}, "holds no layer"),
    "a foreign layer": (
        {},
        lambda whole: {name.replace("value", "key"): tensor for name, tensor in whole.items()},
        r"corrects encoder\.layer\.0\.attention\.self\.key, which",
    ),
    "a layer that is missing": (
        {},
        lambda whole: {name: tensor for name, tensor in whole.items() if "layer.1" not in name},
        r"does not correct encoder\.layer\.1",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_start_is_refused(what, backbones, tmp_path):
    values, tensors, told = REFUSED[what]
    lora = save_lora(backbones("bert"), tmp_path / "lora")
    bad = edited(lora, tmp_path / "bad", tensors, **values)
    with pytest.raises((ConfigError, ModelError), match=told) as found:
        begun(settings(backbones("bert"), bad))
    assert "\n" not in str(found.value)


def test_folders_that_hold_none(backbones, tmp_path):
    lora = save_lora(backbones("bert"), tmp_path / "lora")
    pickled = shutil.copytree(lora, tmp_path / "pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    empty = tmp_path / "empty"
    empty.mkdir()
    torn = shutil.copytree(lora, tmp_path / "torn")
    whole = (torn / "adapter_model.safetensors").read_bytes()
    (torn / "adapter_model.safetensors").write_bytes(whole[:-9])
    words = shutil.copytree(lora, tmp_path / "words")
    (words / "adapter_config.json").write_text("r: 2")
    for folder, told in (
        (tmp_path / "none", "there is no such folder"),
        (lora / "adapter_config.json", "is a file"),
        (empty, r"holds no adapter_config\.json"),
        (pickled, "is a pickle, which runs code"),
        (torn, "cannot be read"),
        (words, "not JSON"),
    ):
        with pytest.raises(ModelError, match=told):
            read_start(folder)


ANYTHING = (
    *("1" + "0" * 400, "[" * 600 + "]" * 600, "null", "[]", "{}", "NaN", "1e999", '"x"', "-1"),
    *("true", json.dumps("n" * 5000), json.dumps("a\0b"), '"\\ud800"', '"some/model"'),
)


@pytest.mark.parametrize("name", ["r", "lora_alpha", "base_model_name_or_path", "revision", "bias"])
def test_whatever_its_settings_hold_it_is_taken_or_refused(name, backbones, tmp_path):
    lora = save_lora(backbones("bert"), tmp_path / "lora")
    file = lora / "adapter_config.json"
    tree = json.loads(file.read_text()) | {name: "planted here"}
    source = resolve(str(backbones("bert")))
    for text in ANYTHING:
        file.write_text(json.dumps(tree).replace('"planted here"', text))
        with contextlib.suppress(ConfigError, ModelError):  # nothing else is raised
            start_of(settings(backbones("bert"), lora), source)
    for content in (b"", b"\xff\xfe\x00", b"[]", b"5", b"null", b"[" * 100_000):
        file.write_bytes(content)
        with pytest.raises(ModelError):
            read_start(lora)


def test_settings_that_do_not_go_with_it(backbones, tmp_path):
    lora = save_lora(backbones("bert"), tmp_path / "lora")
    good = settings(backbones("bert"), lora)
    source = resolve(good.backbone)
    for change, told in (
        ({"lora_rank": 4}, "model.lora_rank = 4: .* has 2; give that"),
        ({"lora_alpha": 16.0}, "model.lora_alpha = 16: .* has 4; give that"),
        ({"layers": 1}, "model.layers = 1: .* corrects layer 2"),
        ({"start_sha256": "0" * 64}, "changed since the run started"),
    ):
        with pytest.raises(ConfigError, match=told):
            begun(settings(backbones("bert"), lora, **change))
    tree = to_dict(ExperimentConfig())
    for section, change, told in (
        ("model", {"start_is_public": None}, "needs model.start_is_public = true"),
        ("model", {"start_is_public": False}, "needs model.start_is_public = true"),
        ("model", {"lora_rank": 0}, "no layer is corrected"),
        ("federation", {"aggregation": "fedsb"}, "the layers' own directions"),
        ("federation", {"aggregation": "principal"}, "the layers' own directions"),
    ):
        changed = json.loads(json.dumps(tree))
        changed["model"] |= {"start": str(lora), "start_is_public": True}
        changed["model"].pop("factors")
        changed[section] |= change
        changed["model"] = {k: v for k, v in changed["model"].items() if v is not None}
        with pytest.raises(ConfigError, match=told):
            from_dict(changed)
    start = start_of(good, source)
    refuse_same_people(start, "0" * 64)
    refuse_same_people(None, "0" * 64)


def test_settings_without_a_start_have_the_hash_that_they_had():
    """A setting that nobody gives re-keys no run's noise."""
    assert not [name for name in to_dict(ExperimentConfig())["model"] if name.startswith("start")]
