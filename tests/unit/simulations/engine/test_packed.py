"""Gradients over packed windows against autograd of the loss, one client at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from client.training.train import window_loss
from shared.config import EngineConfig, ModelConfig
from shared.errors import ConfigError
from shared.model.attention import attend
from shared.model.recommender import Recommender
from simulations.engine import packed
from simulations.engine.cohort import CohortEngine
from simulations.engine.packed import PackedGradients, last_scores, pack, why_not_packed
from simulations.world.world import World
from tests.support.tiny import FAMILIES, RICH, make_engine, random_adapter, relative, save_tiny

ITEMS, LENGTH = 40, 8
WORLD = World(users=4, items=ITEMS)
LIMIT = 2e-5


def opened(folder, family, **settings):
    return make_engine(WORLD, save_tiny(folder, family), **RICH | settings)


@pytest.fixture(scope="module", params=FAMILIES)
def engine(request, tmp_path_factory):
    return opened(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("bert"), "bert")


def drawn(clients, windows, seed=0, shortest=0):
    """Inputs and targets [clients, windows, LENGTH]: starts, hidden items, gaps, padding."""
    generator = torch.Generator().manual_seed(seed)
    shape = (clients, windows, LENGTH)
    inputs = torch.randint(-1, ITEMS, shape, generator=generator)
    targets = torch.randint(-1, ITEMS, shape, generator=generator)
    lengths = torch.randint(shortest, LENGTH + 1, shape[:2], generator=generator)
    after = torch.arange(LENGTH) >= lengths[..., None]
    return inputs.masked_fill(after, -1), targets.masked_fill(after, -1)


def thetas(engine, clients, spread):
    start = random_adapter(engine.schema.trainable).expand(clients, -1)
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(5))
    return start + 0.05 * noise if spread else start


def gradient_of(engine, theta, inputs, targets):
    vector = theta.clone().requires_grad_(True)
    tensors = engine.schema.trainable.unflatten(vector)
    loss = window_loss(engine.recommender, tensors, inputs, targets)
    return torch.autograd.grad(loss, vector)[0]


def by_client(engine, theta, inputs, targets):
    rows = zip(theta, inputs, targets, strict=True)
    return torch.stack([gradient_of(engine, *row) for row in rows])


@pytest.mark.parametrize("spread", [False, True], ids=["one adapter", "own adapters"])
def test_every_clients_gradient(engine, spread):
    theta, (inputs, targets) = thetas(engine, 5, spread), drawn(5, 3)
    found = PackedGradients(engine.recommender, engine.schema.trainable).by_client(
        theta, inputs, targets
    )
    assert relative(found, by_client(engine, theta, inputs, targets)) < LIMIT


@pytest.mark.parametrize("spread", [False, True], ids=["one adapter", "own adapters"])
def test_every_windows_gradient(engine, spread):
    theta, (inputs, targets) = thetas(engine, 3, spread), drawn(3, 4)
    found = PackedGradients(engine.recommender, engine.schema.trainable).by_window(
        theta, inputs, targets
    )
    for client in range(3):
        for window in range(4):
            one = inputs[client, window][None], targets[client, window][None]
            expected = gradient_of(engine, theta[client], *one)
            assert float((found[client, window] - expected).norm()) < LIMIT * max(
                1e-3, float(expected.norm())
            )


def test_all_clients_together(engine):
    theta, (inputs, targets) = thetas(engine, 5, False), drawn(5, 3)
    found = PackedGradients(engine.recommender, engine.schema.trainable).together(
        theta[0], inputs, targets
    )
    assert relative(found, by_client(engine, theta, inputs, targets).sum(0)) < LIMIT


@settings(max_examples=25, deadline=None)
@given(clients=st.integers(1, 6), windows=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_any_lengths(bert, clients, windows, seed):
    theta, (inputs, targets) = thetas(bert, clients, False), drawn(clients, windows, seed)
    found = PackedGradients(bert.recommender, bert.schema.trainable).by_client(
        theta, inputs, targets
    )
    expected = by_client(bert, theta, inputs, targets)
    assert float((found - expected).norm()) < LIMIT * max(1e-3, float(expected.norm()))


@pytest.mark.parametrize(
    "model",
    [
        {"instruction": "a b c"},
        {"item_rank": 0, "lora_rank": 0, "projection_rank": 0},
        {"affinity_scale": 0.0},
        {"weights": "int8"},
        {"item_bias": False},
    ],
    ids=lambda model: next(iter(model)),
)
@pytest.mark.parametrize("family", ["bert", "qwen2"])
def test_other_models(model, family, tmp_path):
    engine = opened(tmp_path, family, **model)
    theta, (inputs, targets) = thetas(engine, 4, False), drawn(4, 2)
    found = PackedGradients(engine.recommender, engine.schema.trainable).by_client(
        theta, inputs, targets
    )
    assert relative(found, by_client(engine, theta, inputs, targets)) < LIMIT


@pytest.mark.parametrize("checkpointing", [False, True])
def test_one_padded_group_as_on_a_gpu_and_small_pieces(checkpointing, tmp_path, monkeypatch):
    how = {"device": "cpu", "checkpointing": checkpointing}
    engine = opened(tmp_path, "bert", engine=how)
    theta, (inputs, targets) = thetas(engine, 5, True), drawn(5, 3)
    expected = by_client(engine, theta, inputs, targets)
    whole = packed.Packing
    monkeypatch.setattr(packed, "Packing", lambda *args: whole(*args[:3], True, args[4]))
    monkeypatch.setattr(packed, "_FEWEST", 5)
    monkeypatch.setitem(packed._SCORES, "cpu", 1)
    found = PackedGradients(engine.recommender, engine.schema.trainable).by_client(
        theta, inputs, targets
    )
    assert relative(found, expected) < LIMIT


def test_without_targets_there_is_no_gradient(bert):
    theta, (inputs, targets) = thetas(bert, 2, False), drawn(2, 2)
    fast = PackedGradients(bert.recommender, bert.schema.trainable)
    nothing = torch.full_like(targets, -1)
    assert not fast.by_client(theta, inputs, nothing).any()
    assert not fast.together(theta[0], inputs, nothing).any()
    targets[0] = -1
    found = fast.by_client(theta, inputs, targets)
    assert not found[0].any()
    assert found[1].any()


def test_nothing_is_padding():
    inputs, targets = drawn(4, 3, shortest=1)
    targets[..., 0] = 7
    row = pack(inputs.flatten(0, 1), targets.flatten(0, 1), torch.arange(12), 12)
    last = (torch.arange(1, LENGTH + 1) * (targets >= 0)).amax(-1)
    assert sum(row.packing.lengths) == int(last.sum())
    assert row.packing.tokens == len(row.inputs) == 128
    assert (row.targets[sum(row.packing.lengths) :] == -1).all()


def test_one_windows_poison_stays_its_own(bert):
    """What is not finite in one client must not reach another's update."""
    theta, (inputs, targets) = thetas(bert, 3, True), drawn(3, 2, shortest=2)
    theta = theta.clone()
    theta[1, 0] = torch.nan
    found = PackedGradients(bert.recommender, bert.schema.trainable).by_client(
        theta, inputs, targets
    )
    assert torch.isfinite(found[[0, 2]]).all()
    assert torch.isnan(found[1]).any()


@pytest.mark.parametrize("one_group", [False, True])
@pytest.mark.parametrize("poisoned", range(4))
def test_one_clients_poison_reaches_no_other_window(bert, poisoned, one_group, monkeypatch):
    """Whichever comes last in the row, next to the filler, too."""
    theta, (inputs, targets) = thetas(bert, 4, True).clone(), drawn(4, 2, shortest=1)
    targets[..., 0] = 5
    theta[poisoned] = torch.nan
    whole = packed.Packing
    monkeypatch.setattr(packed, "Packing", lambda *args: whole(*args[:3], one_group, args[4]))
    found = PackedGradients(bert.recommender, bert.schema.trainable).by_window(
        theta, inputs, targets
    )
    others = [client for client in range(4) if client != poisoned]
    assert torch.isfinite(found[others]).all()
    assert found[others].any(-1).all()
    assert torch.isnan(found[poisoned]).any(-1).all()


def test_scores_after_the_last_item(engine):
    inputs, _ = drawn(6, 1)
    windows, last = inputs[:, 0], torch.tensor([7, 0, 3, 3, 5, 7])
    tensors = engine.schema.trainable.unflatten(random_adapter(engine.schema.trainable))
    with torch.no_grad():
        found = last_scores(engine.recommender, tensors, windows, last)
        scores = torch.func.functional_call(engine.recommender, tensors, (windows,))
    assert relative(found, scores[torch.arange(6), last]) < LIMIT


def test_the_families_can_be_packed_and_a_strange_attention_is_not(engine, monkeypatch):
    assert why_not_packed(engine.recommender) == ""

    def strange(*args, **keywords):
        output, weights = attend(*args, **keywords)
        return output.flip(1), weights

    with monkeypatch.context() as patch:
        patch.setattr("shared.model.attention.attend", strange)
        assert "apart" in why_not_packed(engine.recommender)

    def capped(*args, **keywords):
        return attend(*args, softcap=30.0, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr("shared.model.attention.attend", capped)
        assert "softcap" in why_not_packed(engine.recommender)
        of = {"population": WORLD, "recommender": engine.recommender}
        assert CohortEngine(**of, config=EngineConfig(device="cpu")).batching == "padded"
        refused = CohortEngine(**of, config=EngineConfig(device="cpu", batching="packed"))
        with pytest.raises(ConfigError, match="batching = packed: this backbone cannot"):
            refused.batching  # noqa: B018 (a property that refuses)


def test_positions_of_a_roberta_are_counted_as_it_does():
    from transformers import RobertaConfig, RobertaModel

    settings = RobertaConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=20,
        pad_token_id=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = RobertaModel(settings, add_pooling_layer=False)
        torch.nn.init.normal_(backbone.embeddings.position_embeddings.weight)
    vectors = torch.nn.functional.normalize(torch.randn(12, 16)).numpy()
    model = ModelConfig(max_length=LENGTH, lora_rank=0)
    assert why_not_packed(Recommender(backbone.requires_grad_(False), vectors, model)) == ""


@pytest.mark.parametrize("most", [1, 5, 9, 100])
def test_pieces_are_whole_windows_within_a_bound(most):
    lengths = [8, 8, 5, 3, 3, 1]
    pieces = list(packed._pieces(packed.Packing(lengths, torch.zeros(6).long(), 1), most))
    assert [w for piece in pieces for w in range(piece.first, piece.last)] == list(range(6))
    stops = [0, *(piece.tokens.stop for piece in pieces)]
    assert [piece.tokens.start for piece in pieces] == stops[:-1]
    assert stops[-1] == sum(lengths)
    for piece in pieces:
        taken = lengths[piece.first : piece.last]
        assert piece.tokens.stop - piece.tokens.start == sum(taken)
        assert len(taken) == 1 or sum(taken) <= most
