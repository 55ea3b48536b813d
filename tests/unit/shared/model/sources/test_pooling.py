"""Vectors of texts: pooled as asked, each text by itself, and judged by the texts alone."""

import itertools

import numpy as np
import pytest
import torch

from shared.model.backbone import load, resolve
from shared.model.items import item_vectors
from shared.model.sources.pooling import PROMPT, attribute_agreement, finished, pooled, tokens_of
from shared.model.text import load_tokenizer
from tests.support.tiny import HIDDEN

TEXTS = ["alpha. drama, comedy", "beta and more. horror", "gamma", "delta. drama", "epsilon. war"]
WAYS = ["mean", "mean_apart", "last", "last_apart"]


@pytest.fixture
def source(backbones):
    return resolve(str(backbones("qwen2")))


def vectors(source, pooling, folder, **more):
    return item_vectors(TEXTS, source, folder, pooling=pooling, **more)[:, :HIDDEN]


@pytest.mark.parametrize("pooling", WAYS)
def test_each_text_by_itself_and_of_unit_length(pooling, source, tmp_path):
    together = vectors(source, pooling, tmp_path / "a")
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    alone = vectors(source, pooling, tmp_path / "b", batch=1)
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_the_four_ways_differ_and_share_two_encodings(source, tmp_path):
    found = [vectors(source, pooling, tmp_path) for pooling in WAYS]
    for one, other in itertools.pairwise(found):
        assert np.abs(one - other).max() > 1e-2
    assert len(list((tmp_path / "items").iterdir())) == 2


def test_the_last_state_is_that_after_the_whole_prompt(source):
    tokenizer = load_tokenizer(source)
    model = load(source)
    text = TEXTS[1]
    tokens = [*tokenizer(PROMPT[0])["input_ids"], *tokenizer(text)["input_ids"]]
    tokens += tokenizer(PROMPT[1])["input_ids"]
    expected = model(input_ids=torch.tensor([tokens])).last_hidden_state[0, -1]
    batch = tokens_of(tokenizer, TEXTS, "last")
    assert batch["input_ids"][1][: len(tokens)].tolist() == tokens
    states = model(**batch).last_hidden_state
    found = pooled(states, batch["attention_mask"], "last")[1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_long_text_is_cut_and_its_prompt_is_not(source):
    tokenizer = load_tokenizer(source)
    batch = tokens_of(tokenizer, ["a " * 500], "last")
    ends = [tokenizer(part)["input_ids"] for part in PROMPT]
    row = batch["input_ids"][0].tolist()
    assert row[-len(ends[1]) :] == ends[1]
    assert len(row) == len(ends[0]) + 64 + len(ends[1])


def test_common_directions_are_taken_out():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=150)
    states = rng.normal(size=(60, 150)) + rng.normal(size=(60, 1)) * 5 * shared
    before, after = (finished(states.astype(np.float32), way) for way in ("mean", "mean_apart"))
    along = shared / np.linalg.norm(shared)
    assert np.abs(before @ along).mean() > 0.8
    assert np.abs(after @ along).mean() < 0.1
    assert np.linalg.matrix_rank(after) < np.linalg.matrix_rank(before)


def labelled(count=200):
    rng = np.random.default_rng(1)
    kinds = rng.integers(0, 4, count)
    texts = [f"Title {n}. {('Drama', 'Comedy', 'Horror', 'War')[k]}" for n, k in enumerate(kinds)]
    return kinds, texts, rng


def test_the_criterion_is_one_for_vectors_of_the_attributes_and_nothing_by_chance():
    kinds, texts, rng = labelled()
    perfect = np.eye(4, dtype=np.float32)[kinds]
    assert attribute_agreement(perfect, texts) == pytest.approx(1, abs=1e-3)
    drawn = rng.normal(size=(len(texts), 16)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    assert abs(attribute_agreement(drawn, texts)) < 0.1
    mixed = finished(perfect @ rng.normal(size=(4, 16)).astype(np.float32) + drawn, "mean")
    assert 0.2 < attribute_agreement(mixed, texts) <= 1


def test_without_attributes_it_says_nothing():
    drawn = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    assert attribute_agreement(drawn, [f"title {letter}" for letter in "abcdefghi"]) == 0
