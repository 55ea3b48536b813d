"""Where the model computes, and how many clients fit."""

from types import SimpleNamespace

import pytest
import torch

from client.train import local_update
from shared.config import EngineConfig
from shared.errors import ConfigError
from simulations.memory import peak_bytes
from simulations.placement import activation_bytes, choose_device, clients_at_once
from simulations.world import World
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
    start, inputs = random_adapter(engine.schema), torch.ones(1, 4, 50, dtype=torch.int64)

    def work():
        local_update(engine.recommender, engine.schema, start, inputs, inputs, 0.1, 0.0)

    measured = peak_bytes(work, torch.device("cpu"))
    estimate = 4 * activation_bytes(engine.recommender, 50, EngineConfig(**settings))
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


def test_a_large_backbone_is_trained_one_client_at_a_time():
    minilm, qwen = shaped(384, 1536, 2, 12, "gelu"), shaped(896, 4864, 24, 14, "silu")
    assert clients_at_once(minilm, 4, 50, EngineConfig()) > 4
    assert clients_at_once(qwen, 4, 50, EngineConfig()) == 1
    assert clients_at_once(qwen, 4, 50, EngineConfig(checkpointing=True)) > 1
    assert clients_at_once(qwen, 4, 50, EngineConfig(micro_batch=7)) == 7
    assert clients_at_once(minilm, 10**6, 50, EngineConfig()) == 1
    assert clients_at_once(minilm, 4, 50, EngineConfig(), extra=10**9) == 1
