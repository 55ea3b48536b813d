"""Reader and encoder of items are two choices; what is not chosen stays as it was."""

import dataclasses

import numpy as np
import pytest

from shared.config import ExperimentConfig, ModelConfig, settings_hash, to_dict
from shared.data.attributes import EXTRA
from shared.data.catalogue import Catalogue
from shared.errors import ModelError
from shared.model.items import item_vectors
from shared.model.sources import choice
from shared.model.sources.choice import build, find, vectors_of
from shared.model.sources.gguf import sha256
from tests.support.tiny import HIDDEN

CATALOGUE = Catalogue(("a", "b", "c"), ("Alpha. Drama", "Beta", "Gamma. War"))


def model_of(reader, **more):
    return ModelConfig(backbone=str(reader), layers=0, max_length=8, lora_rank=1, **more)


def test_nothing_chosen_is_the_backbone_and_hashes_as_before(tiny_bert):
    model = model_of(tiny_bert)
    sources = find(model)
    assert sources.items is None
    expected = item_vectors(CATALOGUE.texts, sources.reader)
    np.testing.assert_array_equal(vectors_of(CATALOGUE, sources, model), expected)
    assert build(CATALOGUE, sources, model).entrance is None
    stated = to_dict(ExperimentConfig(model=sources.identified(model)))["model"]
    assert not {"items", "items_sha256", "pooling"} & set(stated)


# Of the default settings before there was a choice: noise is keyed by it.
BEFORE = "d0c625402b3eae25cce6c84a8f258c6c0b7c45e258126557d91aa9eab1226025"


def test_the_hash_of_default_settings_is_what_it_was():
    assert settings_hash(ExperimentConfig()) == BEFORE
    other = dataclasses.replace(ModelConfig(), items="minilm")
    assert settings_hash(ExperimentConfig(model=other)) != BEFORE


def test_items_of_another_model_enter_through_the_map(tiny_bert, backbones):
    model = model_of(backbones("qwen2"), items=str(tiny_bert))
    sources = find(model)
    built = build(CATALOGUE, sources, model)
    assert built.entrance is not None
    expected = item_vectors(CATALOGUE.texts, sources.items)
    np.testing.assert_array_equal(vectors_of(CATALOGUE, sources, model), expected)
    named = sources.identified(model)
    assert (named.backbone_sha256, named.items_sha256) == (
        sources.reader.digest,
        sources.items.digest,
    )
    assert sources.digests(named) == [
        ("backbone", sources.reader.digest, sources.reader.digest),
        ("items", sources.items.digest, sources.items.digest),
    ]


def test_the_backbone_may_be_named_as_encoder_too(tiny_bert):
    model = model_of(tiny_bert, items=str(tiny_bert))
    assert build(CATALOGUE, find(model), model).entrance is not None


def test_pooling_is_what_was_chosen_for_the_model_unless_set(tiny_bert, monkeypatch):
    asked = []

    def spy(texts, source, pooling):
        asked.append(pooling)
        return np.zeros((3, HIDDEN + EXTRA), dtype=np.float32)

    monkeypatch.setattr(choice, "item_vectors", spy)
    sources = find(model_of(tiny_bert))
    vectors_of(CATALOGUE, sources, model_of(tiny_bert))
    vectors_of(CATALOGUE, sources, model_of(tiny_bert, pooling="last_apart"))
    monkeypatch.setitem(choice.CHOSEN, sources.reader.digest, "mean_apart")
    vectors_of(CATALOGUE, sources, model_of(tiny_bert))
    vectors_of(CATALOGUE, sources, model_of(tiny_bert, pooling="mean"))
    assert asked == ["mean", "last_apart", "mean_apart", "mean"]


def written(file, items=("x", "c", "a", "b"), vectors=None):
    drawn = np.random.default_rng(0).normal(size=(4, 7))
    np.savez(file, items=np.array(items), vectors=drawn if vectors is None else vectors)
    return file


def test_a_file_of_vectors_by_identifier_whatever_its_order(tiny_bert, tmp_path):
    file = written(tmp_path / "own.npz")
    model = model_of(tiny_bert, items=str(file))
    sources = find(model)
    assert sources.items.digest == sha256(file)
    found = vectors_of(CATALOGUE, sources, model)
    assert found.shape == (3, 7 + EXTRA)
    rows = np.load(file)["vectors"][[2, 3, 1]]
    rows = rows - rows.mean(0)
    np.testing.assert_allclose(
        found[:, :7], rows / np.linalg.norm(rows, axis=1, keepdims=True), rtol=1e-5, atol=1e-6
    )
    assert build(CATALOGUE, sources, model).items.shape == (3, 7)


BAD = {
    "not there": (lambda f: f.unlink(), "cannot be read"),
    "empty": (lambda f: f.write_bytes(b""), "is no archive of these two"),
    "nonsense": (lambda f: f.write_bytes(b"PK\x03\x04 no archive"), "is no archive of these two"),
    "torn": (lambda f: f.write_bytes(f.read_bytes()[:-99]), "is no archive of these two"),
    "without items": (lambda f: np.savez(f, vectors=np.ones((3, 2))), "is no archive of these two"),
    "objects": (
        lambda f: written(f, np.array(list("abcd"), dtype=object)),
        "is no archive of these two",
    ),
    "fewer rows": (lambda f: written(f, vectors=np.ones((3, 2))), "is no archive of these two"),
    "no columns": (lambda f: written(f, vectors=np.ones((4, 0))), "is no archive of these two"),
    "text": (lambda f: written(f, vectors=np.array([["1"]] * 4)), "is no archive of these two"),
    "an item twice": (lambda f: written(f, ("a", "a", "b", "c")), "names an item twice"),
    "an item missing": (lambda f: written(f, ("a", "b", "d", "e")), "lacks 'c' and 0 other items"),
    "not finite": (lambda f: written(f, vectors=np.full((4, 2), np.nan)), "not finite"),
}


@pytest.mark.parametrize(("spoil", "told"), BAD.values(), ids=list(BAD))
def test_a_bad_file_is_one_line(spoil, told, tiny_bert, tmp_path):
    file = written(tmp_path / "own.npz")
    spoil(file)
    model = model_of(tiny_bert, items=str(file))
    with pytest.raises(ModelError, match=told) as found:
        vectors_of(CATALOGUE, find(model), model)
    assert "\n" not in str(found.value)
    assert str(file) in str(found.value)
