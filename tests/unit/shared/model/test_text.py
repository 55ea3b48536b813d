"""The instruction: frozen words before the items; tokenizers without padding, or missing."""

import shutil

import numpy as np
import pytest
import torch

from client.training.train import local_update
from shared.errors import ConfigError, ModelError
from shared.model.backbone import load, resolve
from shared.model.items import item_vectors
from shared.model.text import instruction_tokens, load_tokenizer, surroundings
from simulations.world.world import World
from tests.support.tiny import (
    FAMILIES,
    LENGTH,
    POSITIONS,
    make_engine,
    random_adapter,
    save_tiny,
)

TEXT = "recommend"  # nine letters, nine tokens
WORLD = World(users=2, items=30)


def windows():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 30, (3, LENGTH)))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_changes_what_the_language_model_reads_and_nothing_else(family, backbones):
    bare = make_engine(WORLD, backbones(family)).recommender
    told = make_engine(WORLD, backbones(family), instruction=TEXT).recommender
    other = make_engine(WORLD, backbones(family), instruction="avoidance").recommender
    assert told.words.shape == (9, bare.items.shape[1])
    x, known = bare._embed(windows()), windows() >= 0
    states = [model._read(x, known) for model in (bare, told, other)]
    assert states[1].shape == states[0].shape
    for a, b in ((0, 1), (1, 2)):
        assert (states[a] - states[b]).abs().amax() > 1e-3
    assert [n for n, p in told.named_parameters() if p.requires_grad] == [
        n for n, p in bare.named_parameters() if p.requires_grad
    ]


def test_it_is_the_frozen_words_and_items_stand_at_their_scale(backbones):
    source = resolve(str(backbones("qwen2")))
    backbone = load(source)
    table = backbone.get_input_embeddings().weight
    ids = instruction_tokens(source, TEXT)
    found = surroundings(backbone, ids)
    assert ids == load_tokenizer(source)(TEXT)["input_ids"]
    assert torch.equal(found.words, table[torch.tensor(ids)])
    assert found.scale == pytest.approx(float(table.norm(dim=1).mean()))
    model = make_engine(WORLD, backbones("qwen2"), instruction=TEXT).recommender
    x = model._embed(windows())
    states = backbone(
        inputs_embeds=torch.cat([found.words.expand(3, -1, -1), found.scale * x], 1)
    ).last_hidden_state  # a decoder is causal by itself
    torch.testing.assert_close(model._read(x, windows() >= 0), states[:, 9:], rtol=1e-4, atol=1e-5)


def test_none_is_not_an_empty_one(backbones):
    source = resolve(str(backbones("gpt2")))
    assert instruction_tokens(source, "") == []
    assert surroundings(load(source)).scale == 1
    with pytest.raises(ConfigError, match="holds no token"):
        instruction_tokens(source, "   ")


@pytest.mark.parametrize("family", FAMILIES)
def test_longer_than_the_positions_is_refused(family, backbones):
    fits = POSITIONS - 9
    make_engine(WORLD, backbones(family), instruction=TEXT, max_length=fits)
    with pytest.raises(ConfigError, match=rf"max_length = {fits + 1} .* of 9 tokens.* {POSITIONS}"):
        make_engine(WORLD, backbones(family), instruction=TEXT, max_length=fits + 1)
    with pytest.raises(ConfigError, match="shorten one"):
        make_engine(WORLD, backbones(family), max_length=POSITIONS + 1)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_tokenizer_without_padding_and_padding_that_does_not_count(family, tmp_path):
    source = resolve(str(save_tiny(tmp_path / "model", family, pad=False)))
    texts = ["a", "a longer text than that", "b c"]
    together = item_vectors(texts, source, tmp_path / "a", batch=3)
    alone = item_vectors(texts, source, tmp_path / "b", batch=1)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_padding_stands_on_the_right_whatever_the_tokenizer_says(backbones, tmp_path):
    """On the left it would move the positions of the shorter texts."""
    folder = shutil.copytree(backbones("gpt2"), tmp_path / "left")
    config = folder / "tokenizer_config.json"
    text = config.read_text()
    config.write_text(text.replace("{", '{"padding_side": "left",', 1))
    texts = ["a", "a longer text than that"]
    vectors = [
        item_vectors(texts, resolve(str(f)), tmp_path / f.name) for f in (backbones("gpt2"), folder)
    ]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_a_missing_tokenizer_is_told_in_one_line(backbones, tmp_path):
    folder = shutil.copytree(backbones("llama"), tmp_path / "bare")
    for file in folder.glob("token*"):
        file.unlink()
    with pytest.raises(ModelError, match="holds no tokenizer") as caught:
        item_vectors(["a"], resolve(str(folder)), tmp_path)
    assert "tokenizer.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_place_without_an_item_is_zero_only_where_positions_are_added(family, backbones):
    blank = make_engine(WORLD, backbones(family)).recommender.blank
    assert blank.norm() == pytest.approx(0.0 if family in ("bert", "gpt2") else 1.0)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_deep_decoder_has_finite_gradients_at_the_start_of_a_history(family, tmp_path):
    """With zero there, each norm would multiply the gradient by a thousand."""
    engine = make_engine(WORLD, save_tiny(tmp_path, family, num_hidden_layers=24))
    inputs = windows()[None]
    inputs[..., 0] = -1
    schema = engine.schema.trainable
    start = random_adapter(schema, scale=0.01)
    delta, _ = local_update(engine.recommender, schema, start, inputs, inputs, 0.1, 0.0)
    assert torch.isfinite(delta).all()
    assert delta.norm() < 100
