"""Plain `transformers` and `peft` get the states of this project from an exported adapter."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from client.serving.adapters import open_release
from client.serving.peft import write_peft
from shared.aggregation import RULES
from shared.config.rules import factors_of
from shared.errors import ConfigError, ModelError
from shared.published import ADAPTER
from tests.support import ROOT
from tests.support.plain.process import run_plainly
from tests.support.running.released import films, publish, settings_of
from tests.support.tiny import FAMILIES, relative

READ = ROOT / "tests" / "support" / "plain" / "read.py"
HISTORY = [3, 17, 3, 0, 9]
TOLERANCE = 1e-5  # relative, of all states together: two orders of sums in float32
BOTH = {"layers": 0, "lora_targets": ("query", "value"), "item_rank": 3, "projection_rank": 4}
# Family, rule, settings of the model.
CASES = {
    **{f"bert {rule}": ("bert", rule, {}) for rule in RULES},
    **{f"{family} fedit": (family, "fedit", {}) for family in FAMILIES},
    "llama fedsb": ("llama", "fedsb", {}),
    "one layer": ("llama", "fedit", {"layers": 1}),
    "one layer of BERT": ("bert", "fedit", {"layers": 1}),
    "one layer of GPT-2": ("gpt2", "fedsb", {"layers": 1, "lora_targets": ("query", "mlp")}),
    "endings that choose more": ("bert", "fedit", {"lora_targets": ("mlp",)}),
    "endings that choose more, of Llama": (
        "llama",
        "fedit",
        {"lora_targets": ("query", "layers.1.mlp.up_proj")},
    ),
    "all there is": ("bert", "fedit", {"lora_targets": ("query", "key", "value", "dense")}),
    "an instruction": ("qwen2", "fedit", {"instruction": "what next"}),
    "another scale": ("bert", "fedit", {"lora_rank": 3, "lora_alpha": 5.0}),
}


def exported(folder, backbone, rule="fedit", **model):
    """An adapter without zeros as an operator publishes it, and where it was written."""
    config = settings_of(
        backbone,
        films(),
        federation={"aggregation": rule},
        model={"factors": factors_of(rule), **BOTH, **model},
    )
    made = publish(folder / "release", config, films())
    return made / ADAPTER, write_peft(made / ADAPTER, folder / "exported")


@torch.no_grad()
def ours(adapter):
    """The states of the history, the one before any item first."""
    model = open_release(adapter, films()).recommender
    return model.read(torch.tensor([[-1, *HISTORY]]))[0].numpy()


@pytest.fixture(scope="module")
def states(backbones, tmp_path_factory):
    """Of every case, as this project has them and as plain libraries do: one process for all."""
    mine, told, folders = {}, [], {}
    for name, (family, rule, model) in CASES.items():
        folder = tmp_path_factory.mktemp("case")
        adapter, folders[name] = exported(folder, backbones(family), rule, **model)
        mine[name] = ours(adapter)
        texts = list(films().texts)
        told.append([str(folders[name]), str(backbones(family)), texts, HISTORY])
    run_plainly(READ, json.dumps(told))
    return {name: (mine[name], np.load(folders[name] / "states.npy")) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_plain_libraries_get_the_same_states(states, name):
    here, there = states[name]
    assert here.shape == there.shape == (1 + len(HISTORY), 32)
    assert relative(there, here) < TOLERANCE


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_of_the_whole_base_model_the_same_layers_are_adapted(backbones, tmp_path):
    """Whoever does not cut the base model finds the states between its layers."""
    from peft import PeftModel
    from transformers import AutoModel

    adapter, folder = exported(tmp_path, backbones("bert"), layers=1)
    assert json.loads((folder / "adapter_config.json").read_text())["layers_to_transform"] == [0]
    whole = AutoModel.from_pretrained(backbones("bert"), attn_implementation="eager")
    model = PeftModel.from_pretrained(whole, folder).eval()
    assert sum(name.endswith("lora_A") for name, _ in model.named_modules()) == 2
    parts = load_file(folder / "starling.safetensors")
    release = open_release(adapter, films())
    x = torch.cat([torch.from_numpy(parts["read.blank"])[None], release.recommender.items[HISTORY]])
    up, down = (torch.from_numpy(parts[f"item_{name}.weight"]) for name in ("up", "in"))
    x[1:] += down[HISTORY] @ up.T
    mask = torch.full((6, 6), torch.finfo(x.dtype).min).triu(1)[None, None]
    with torch.no_grad():
        found = model(inputs_embeds=x[None], attention_mask=mask, output_hidden_states=True)
    assert relative(found.hidden_states[1][0], ours(adapter)) < TOLERANCE


def test_what_peft_has_no_place_for_is_beside_it(backbones, tmp_path):
    """Nothing that was trained or released is lost: a core of a pair neither."""
    adapter, folder = exported(tmp_path, backbones("bert"), "fedsb", moments_rank=2)
    whole, rest = load_file(adapter), load_file(folder / "starling.safetensors")
    cores = {name for name in whole if name.endswith(".core.weight") and ".lora_B." in name}
    assert len(cores) == 4
    factors = {name for name in whole if ".lora_" in name} - cores
    for name in whole.keys() - factors:
        assert np.array_equal(rest[name], whole[name]), name
    assert {name for name in rest if not name.startswith("read.")} == whole.keys() - factors
    with safe_open(folder / "starling.safetensors", "np") as stream:
        about = json.loads(stream.metadata()["about"])
    assert about["model"]["lora_rank"] == 2
    assert about["catalogue"] == films().digest


def test_the_same_adapter_gives_the_same_bytes(backbones, tmp_path):
    adapter, folder = exported(tmp_path, backbones("bert"), lora_targets=("dense", "query"))
    again = write_peft(adapter, tmp_path / "again")
    for file in folder.iterdir():
        same = file.read_bytes() == (again / file.name).read_bytes()
        assert same, file.name


def test_a_base_model_has_its_name_on_the_hub(backbones, tmp_path):
    """A folder's path is nobody else's: the header names no base model then."""
    adapter, folder = exported(tmp_path, backbones("bert"))
    assert "base_model:" not in (folder / "README.md").read_text()
    named = write_peft(adapter, tmp_path / "named", "some/model@0123abc")
    text = (named / "README.md").read_text()
    assert text.startswith("---\nbase_model: some/model\n")
    assert "revision='0123abc'" in text
    assert str(backbones("bert")) not in text
    for file in named.iterdir():
        assert str(backbones("bert")).encode() not in file.read_bytes(), file.name
    config = json.loads((named / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("some/model", "0123abc")


def test_what_cannot_be_exported_leaves_nothing(backbones, tmp_path):
    adapter, folder = exported(tmp_path, backbones("bert"))
    with pytest.raises(ConfigError, match="is there already"):
        write_peft(adapter, folder)
    with pytest.raises(ModelError, match=r"lora_rank = 0.*PEFT has nothing to load"):
        exported(tmp_path / "flat", backbones("bert"), lora_rank=0)
    other = shutil.copytree(backbones("bert"), tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(ModelError, match="other backbone weights"):
        moved(adapter, tmp_path / "a.safetensors", backbone=str(other))
    with pytest.raises(ModelError, match=r"lora_A: \(2, 32\), its settings give \(3, 32\)"):
        moved(adapter, tmp_path / "b.safetensors", lora_rank=3)
    with pytest.raises(ModelError, match=r"key.*lora_A: missing"):
        moved(adapter, tmp_path / "c.safetensors", lora_targets=["query", "key", "value"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_peft(adapter, tmp_path / "file" / "below")
    assert not list(tmp_path.glob("*-peft"))
    assert not list(tmp_path.glob(".*"))


def moved(adapter, file, **model):
    """The same tensors under other settings of the model, exported beside."""
    with safe_open(adapter, "np") as stream:
        settings = json.loads(stream.metadata()["settings"])
    settings["model"] |= {"backbone_sha256": "0" * 64} | model if "backbone" in model else model
    save_file(load_file(adapter), file, {"settings": json.dumps(settings)})
    return write_peft(file, file.with_name(f"{file.stem}-peft"))


@pytest.mark.parametrize("how", ["items", "pooling"])
def test_what_plain_libraries_do_not_read_so_is_refused(how, backbones, tmp_path):
    """The card would say how items enter the model, and be wrong."""
    model = {"items": str(backbones("gpt2"))} if how == "items" else {"pooling": "last"}
    with pytest.raises(ModelError, match=rf"model\.{how} = "):
        exported(tmp_path, backbones("bert"), **model)
