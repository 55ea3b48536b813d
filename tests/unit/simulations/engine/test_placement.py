"""Where the model computes, and how many clients fit."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from client.training.train import local_update
from shared.config import EngineConfig
from shared.errors import ConfigError
from simulations.engine.packed import ROUND, PackedGradients
from simulations.engine.placement import (
    Capacity,
    activation_bytes,
    capacity,
    choose_device,
    peak_bytes,
    token_bytes,
)
from simulations.world.world import World
from tests.support.tiny import make_engine, random_adapter, save_tiny

WORLD = World(users=2, items=30)


@pytest.mark.parametrize(
    ("cuda", "mps", "found"),
    [(True, True, "cuda:0"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_first_accelerator(cuda, mps, found, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(found)
    assert choose_device("cpu") == torch.device("cpu")
    for name, there in (("cuda", cuda), ("mps", mps)):
        if there:
            assert choose_device(name).type == name
        else:
            with pytest.raises(ConfigError, match=f"engine.device = {name}: not available here"):
                choose_device(name)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", ["bert", "qwen2", "gpt2"])
def test_the_estimate_is_of_the_right_size(family, checkpointing, tmp_path):
    """A model wide and deep enough that its blocks matter."""
    theirs = ("hidden_size", "intermediate_size", "num_hidden_layers")
    names = ("n_embd", "n_inner", "n_layer") if family == "gpt2" else theirs
    widths = dict(zip(names, (128, 512, 6), strict=True))
    settings = {"device": "cpu", "checkpointing": checkpointing}
    engine = make_engine(WORLD, save_tiny(tmp_path, family, **widths), engine=settings)
    start, inputs = random_adapter(engine.schema.trainable), torch.ones(1, 4, 50, dtype=torch.int64)

    def work():
        local_update(engine.recommender, engine.schema.trainable, start, inputs, inputs, 0.1, 0.0)

    measured = peak_bytes(work, torch.device("cpu"))
    estimate = 4 * activation_bytes(engine.recommender, 50, EngineConfig(**settings))
    assert 0.9 * measured < estimate < 2 * measured

    fast = PackedGradients(engine.recommender, engine.schema.trainable)
    inputs = torch.ones(4, 4, 50, dtype=torch.int64)

    def packed_work():
        fast.by_client(start.expand(4, -1), inputs, inputs)

    measured = peak_bytes(packed_work, torch.device("cpu"))
    tokens = -(-800 // ROUND["cpu"]) * ROUND["cpu"]
    estimate = tokens * token_bytes(engine.recommender, EngineConfig(**settings))
    assert 0.9 * measured < estimate < 2 * measured


def shaped(hidden, inner, layers, heads, act, items=2000):
    """As much of a recommender as the estimate looks at."""
    config = SimpleNamespace(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_act=act,
    )
    backbone = torch.nn.Module()
    backbone.config = config
    return SimpleNamespace(
        backbone=backbone,
        words=torch.empty(0, hidden),
        dtype=torch.float32,
        items=torch.empty(items, hidden),
    )


def room(recommender, padded=False, client=0, **settings):
    return capacity(recommender, EngineConfig(**settings), 50, client, padded=padded)


def test_a_large_backbone_is_trained_one_client_at_a_time():
    minilm, qwen = shaped(384, 1536, 2, 12, "gelu"), shaped(896, 4864, 24, 14, "silu")
    assert room(minilm).split([200] * 20)[0] > 4
    assert room(qwen).split([200] * 3) == [1, 1, 1]
    assert room(qwen, checkpointing=True).split([200] * 3)[0] > 1
    assert room(minilm, micro_batch=7).split([200] * 20) == [7, 7, 6]
    assert room(minilm, client=10**9).split([1, 1]) == [1, 1]
    assert room(minilm, memory_mib=1).split([200, 200]) == [1, 1]


def test_padding_counts_every_client_as_the_largest():
    even = Capacity(0, 100, token=1, client=0, tokens=1000, padded=False, length=10, words=0)
    assert even.split([60, 20, 20, 10]) == [3, 1]
    assert replace(even, padded=True).split([60, 20, 20, 10]) == [1, 3]
    assert replace(even, tokens=30).split([60, 20, 10]) == [1, 2]
    assert replace(even, client=30).split([30, 20, 20]) == [1, 2]
    assert even.split([]) == []
    assert even.split([0, 0]) == [2]


@given(
    sizes=st.lists(st.integers(0, 300), max_size=30).map(lambda s: sorted(s, reverse=True)),
    budget=st.integers(1, 1000),
    padded=st.booleans(),
)
def test_everyone_is_trained_and_no_group_exceeds_the_budget(sizes, budget, padded):
    settings = {"token": 1, "client": 2, "tokens": 500, "length": 10, "words": 0}
    found = Capacity(0, budget, padded=padded, **settings).split(sizes)
    assert sum(found) == len(sizes)
    start = 0
    for count in found:
        group = sizes[start : start + count]
        tokens = count * group[0] if padded else sum(group)
        assert count == 1 or (tokens + 2 * count <= budget and tokens <= 500)
        start += count


def test_padding_and_the_instruction_are_counted():
    packed = Capacity(0, 100, 1, 0, 1000, padded=False, length=50, words=30)
    assert [packed.taken(targets) for targets in (0, 5, 50, 51)] == [0, 35, 80, 111]
    padded = replace(packed, padded=True)
    assert [padded.taken(targets) for targets in (0, 5, 50, 51)] == [0, 80, 80, 160]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("words", ["", "a b c d e f g h"])
def test_short_histories_stay_within_the_budget(padded, words, tmp_path):
    """As many clients with a few items as the budget is said to hold."""
    widths = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4}
    backbone = save_tiny(tmp_path, "bert", **widths)
    engine = make_engine(WORLD, backbone, instruction=words, max_length=20)
    budget = 24
    how = EngineConfig(memory_mib=budget)
    fits = capacity(engine.recommender, how, 20, 0, padded=padded)
    fits = replace(fits, tokens=10**9)
    (count, *_) = fits.split([fits.taken(4)] * 2000)
    assert count < 2000
    start = random_adapter(engine.schema.trainable)
    inputs = torch.full((count, 1, 20), -1)
    inputs[:, :, :4] = 3
    fast = PackedGradients(engine.recommender, engine.schema.trainable)

    def work():
        if not padded:
            fast.by_client(start.expand(count, -1), inputs, inputs)
            return
        settings = (engine.recommender, engine.schema.trainable, start)
        one = lambda x: local_update(*settings, x[None], x[None], 0.1, 0.0)[0]  # noqa: E731
        torch.func.vmap(one)(inputs)

    gradients = 5 * 4 * engine.schema.trainable.dim * count
    assert peak_bytes(work, torch.device("cpu")) - gradients < 1.1 * budget * 2**20
