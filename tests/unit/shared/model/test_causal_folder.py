"""A folder as a causal language model is published: with a head, in shards, words tied or not."""

import json
import shutil

import numpy as np
import pytest
import torch

from shared.errors import ModelError
from shared.model.backbone import load, resolve
from shared.model.items import item_vectors
from tests.support.tiny import save_tokenizer

TEXTS = ["alpha", "beta gamma", "delta"]


def causal(folder, tied, shard="5GB"):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=76,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        model = Qwen2ForCausalLM(config)
    model.save_pretrained(folder, max_shard_size=shard)
    save_tokenizer(folder)
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_the_body_is_loaded_without_the_head(tied, tmp_path):
    model = causal(tmp_path, tied).model
    loaded = load(resolve(str(tmp_path)))
    assert type(loaded).__name__ == "Qwen2Model"
    ours, theirs = loaded.state_dict(), model.state_dict()
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def shards(tmp_path):
    causal(tmp_path / "whole", tied=True)
    causal(tmp_path / "parts", tied=True, shard="20KB")
    return tmp_path / "parts"


def test_shards_are_one_model(shards):
    assert len(list(shards.glob("*.safetensors"))) > 2
    parts, whole = (load(resolve(str(f))) for f in (shards, shards.parent / "whole"))
    inputs = torch.ones(1, 3, 32)
    assert torch.equal(
        parts(inputs_embeds=inputs).last_hidden_state, whole(inputs_embeds=inputs).last_hidden_state
    )
    vectors = [
        item_vectors(TEXTS, resolve(str(f)), f / "cache") for f in (shards, shards.parent / "whole")
    ]
    np.testing.assert_array_equal(*vectors)


def test_the_digest_covers_every_shard_and_what_says_how_to_read_them(shards):
    known = {resolve(str(shards)).digest}
    for file in [*sorted(shards.glob("*.safetensors")), shards / "tokenizer.json"]:
        with file.open("ab") as stream:
            stream.write(b" ")
        known.add(resolve(str(shards)).digest)
    config = json.loads((shards / "config.json").read_text())
    config["rms_norm_eps"] = 0.5  # the same weights, another function
    (shards / "config.json").write_text(json.dumps(config))
    known.add(resolve(str(shards)).digest)
    assert len(known) == 3 + len(list(shards.glob("*.safetensors")))


def test_item_vectors_are_cached_by_all_that_matters(tmp_path):
    causal(tmp_path / "one", tied=True)
    other = shutil.copytree(tmp_path / "one", tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    config["rms_norm_eps"] = 0.5
    (other / "config.json").write_text(json.dumps(config))
    vectors = [
        item_vectors(TEXTS, resolve(str(tmp_path / name)), tmp_path / "cache")
        for name in ("one", "other")
    ]
    assert len(list((tmp_path / "cache" / "items").iterdir())) == 2
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_a_missing_shard_is_refused(shards):
    sorted(shards.glob("*.safetensors"))[1].unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(resolve(str(shards)))


def test_missing_weights_are_refused_and_not_drawn_at_random(tmp_path):
    from safetensors.torch import load_file, save_file

    causal(tmp_path, tied=True)
    file = tmp_path / "model.safetensors"
    kept = {name: t for name, t in load_file(file).items() if "layers.1." not in name}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack layers\.1\..* and 11 others of a Qwen2Model"):
        load(resolve(str(tmp_path)))
