"""Vectors of one model enter another where its words stand, by a map that all compute alike."""

import numpy as np
import pytest
import torch

from shared.model.backbone import load, resolve
from shared.model.sources.entrance import entrance
from shared.model.text import load_tokenizer, surroundings
from simulations.world.world import World

READERS = ("bert", "qwen2", "gguf-llama", "gpt2")
TEXTS = World(users=2, items=60).catalogue.texts


def drawn(width, seed=0):
    """Vectors that say something of the texts' letters, and something else."""
    rng = np.random.default_rng(seed)
    letters = np.array([[text.lower().count(x) for x in "abcdefghijklmnop"] for text in TEXTS])
    made = letters @ rng.normal(size=(16, width)) + rng.normal(size=(len(TEXTS), width))
    made -= made.mean(0)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def made(reader, vectors):
    source = resolve(str(reader))
    backbone = load(source)
    return backbone, entrance(backbone, load_tokenizer(source), TEXTS, vectors)


def words(backbone):
    return backbone.get_input_embeddings().weight.detach()


@pytest.mark.parametrize("width", [20, 32, 50])
@pytest.mark.parametrize("reader", READERS)
def test_items_stand_where_words_do(reader, width, backbones):
    """Narrower, as wide and wider: mean and mean squared distance from it are the words'."""
    vectors = drawn(width)
    backbone, through = made(backbones(reader), vectors)
    table = words(backbone)
    assert through.enter.shape == (32, width)
    assert through.offset.shape == (32,)
    assert through.leave.shape == (width, 32)
    assert through.width == width
    entered = torch.from_numpy(vectors) @ through.enter.T + through.offset
    torch.testing.assert_close(entered.mean(0), table.mean(0), rtol=1e-4, atol=1e-5)
    spread, wanted = ((x - x.mean(0)).pow(2).sum(1).mean().sqrt() for x in (entered, table))
    torch.testing.assert_close(spread, wanted, rtol=1e-4, atol=0)


@pytest.mark.parametrize("reader", READERS)
def test_an_item_enters_near_the_words_of_its_text(reader, backbones):
    """Nearer to its own words than to another item's: a map of the right shape alone is not."""
    vectors = drawn(50)
    backbone, through = made(backbones(reader), vectors)
    tokenizer = load_tokenizer(resolve(str(backbones(reader))))
    table = words(backbone)
    said = torch.stack(
        [table[tokenizer(t, add_special_tokens=False)["input_ids"]].mean(0) for t in TEXTS]
    )
    entered = torch.from_numpy(vectors) @ through.enter.T + through.offset
    like = torch.nn.functional.cosine_similarity(
        (entered - entered.mean(0))[:, None], (said - said.mean(0))[None], dim=-1
    )
    assert like.diagonal().mean() > 0.3
    assert abs(like.mean()) < 0.05


def test_states_leave_by_the_transpose_at_a_known_length(backbones):
    backbone, through = made(backbones("gguf-llama"), drawn(20))
    ratio = through.leave / through.enter.T
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)
    gains = backbone.norm.weight.detach()
    states = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))
    states = states / states.pow(2).mean(-1, keepdim=True).sqrt() * gains.norm() / 32**0.5
    left = (states @ through.leave.T).pow(2).sum(1).mean().sqrt()
    assert float(left) == pytest.approx(20**0.5, rel=0.05)


def test_twice_is_the_same_and_last_digits_do_not_matter(backbones):
    vectors = drawn(50)
    _, one = made(backbones("qwen2"), vectors)
    _, again = made(backbones("qwen2"), vectors)
    noise = np.random.default_rng(3).normal(0, 1e-6, vectors.shape).astype(np.float32)
    _, near = made(backbones("qwen2"), vectors + noise)
    for name in ("enter", "offset", "leave", "blank"):
        assert torch.equal(getattr(one, name), getattr(again, name))
        torch.testing.assert_close(getattr(one, name), getattr(near, name), rtol=0, atol=1e-4)


def test_words_and_blanks_stand_beside_them_as_they_are(backbones):
    backbone, through = made(backbones("qwen2"), drawn(20))
    around = surroundings(backbone, [3, 4], through)
    assert around.scale == 1
    assert torch.equal(around.words, words(backbone)[[3, 4]])
    length = words(backbone).norm(dim=1).mean()
    torch.testing.assert_close(around.blank.norm(), length, rtol=1e-4, atol=0)
    backbone, through = made(backbones("gpt2"), drawn(20))
    assert not surroundings(backbone, (), through).blank.any()  # positions are added there


def test_texts_without_a_word_enter_as_the_mean_word(backbones):
    source = resolve(str(backbones("qwen2")))
    backbone, vectors = load(source), drawn(20)
    through = entrance(backbone, load_tokenizer(source), [" "] * len(TEXTS), vectors)
    entered = torch.from_numpy(vectors) @ through.enter.T + through.offset
    assert entered.isfinite().all()
    torch.testing.assert_close(entered[0], words(backbone).mean(0), rtol=1e-4, atol=1e-5)
    assert through.leave.isfinite().all()
