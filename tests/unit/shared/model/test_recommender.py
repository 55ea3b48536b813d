"""The scores: causal, padding-proof, and what the formulas in the modules say."""

import numpy as np
import pytest
import torch

from shared.config import ModelConfig
from shared.data.attributes import EXTRA
from shared.errors import ConfigError, ModelError
from shared.model.adapter import AdapterSchema, install
from shared.model.affinities import (
    DECAYS,
    PRIOR,
    block_widths,
    initial_mix,
    kernels,
    starting_mix,
    summaries,
)
from shared.model.backbone import load, resolve
from shared.model.recommender import Recommender, build_recommender
from simulations.world.world import World
from tests.support.tiny import HIDDEN, LENGTH, RICH, make_engine, random_adapter

ITEMS = 60


@pytest.fixture(scope="module")
def world():
    return World(users=2, items=ITEMS)


@pytest.fixture(scope="module")
def model(world, tiny_bert):
    engine = make_engine(world, tiny_bert)
    install(engine.recommender, engine.schema, random_adapter(engine.schema))
    return engine.recommender.requires_grad_(False)


def windows(batch=4, seed=0):
    inputs = torch.from_numpy(np.random.default_rng(seed).integers(0, ITEMS, (batch, LENGTH)))
    inputs[:, 0] = -1
    return inputs


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", [1, 4, LENGTH - 1])
def test_a_later_item_does_not_change_earlier_scores(model, place):
    inputs = windows()
    other = inputs.clone()
    other[:, place] = (other[:, place] + 7) % ITEMS
    before, after = model(inputs), model(other)
    close(before[:, :place], after[:, :place])
    assert (before[:, place:] - after[:, place:]).abs().amax((0, 2)).min() > 1e-4


def test_padding_on_the_right_changes_nothing(model):
    inputs = windows()
    padded = torch.cat([inputs, torch.full((4, 5), -1)], dim=1)
    close(model(padded)[:, :LENGTH], model(inputs))


def test_rows_of_a_batch_do_not_meet(model):
    inputs = windows()
    close(model(inputs), torch.cat([model(row[None]) for row in inputs]))


def test_a_start_is_a_zero_vector_and_the_first_place_already_ranks(model):
    assert not model._embed(torch.tensor([[-1, -1]])).any()
    scores = model(torch.tensor([[-1]]))[0, 0]
    assert scores.shape == (ITEMS,)
    assert scores.std() > 0


def formula(model, window):
    """g_t and s_t of the module's docstring, item by item and step by step."""
    hidden, mix = model.items.shape[1], model.mix.weight.numpy()
    moments = [table.weight.numpy() for table in (model.moments_in, model.moments_out)]
    ins, outs = (np.concatenate([model.table.numpy(), own], axis=1) for own in moments)
    bounds = np.cumsum([0, hidden, 32, 8, 64, 3])
    table, up = model.items.numpy(), model.item_up.weight.numpy()
    rows, down = model.item_in.weight.numpy(), model.item_down.weight.numpy()
    basis, core = model.basis.numpy(), model.core.weight.numpy()
    x = [table[i] + up @ rows[i] if i >= 0 else np.zeros(HIDDEN, np.float32) for i in window]
    state = model._read(torch.from_numpy(np.stack(x))[None], torch.tensor([window]) >= 0)[0].numpy()
    scores = []
    for t in range(len(window)):
        q = np.zeros(ins.shape[1], np.float32)
        for first, last, weights in zip(bounds, bounds[1:], mix, strict=False):
            for a, weight in zip((0.6, 0.85, 0.95, 1.0), weights, strict=True):
                met = [r for r in range(t + 1) if window[r] >= 0]
                whole = sum(a ** (t - r) for r in met)
                for r in met:
                    row = ins[window[r], first:last] if first else x[r]
                    q[first:last] += weight * a ** (t - r) / whole * row
        f = model.hidden_scale * state[t] + q[:hidden]
        g = f + basis @ (core @ (basis.T @ f))
        score = table @ g + rows @ (down @ g) + model.item_bias.weight[:, 0].numpy()
        scores.append(score + outs[:, hidden:] @ q[hidden:])
    return torch.from_numpy(np.stack(scores).astype(np.float32))


def test_equals_the_formula(model):
    window = windows(1)[0]
    close(model(window[None])[0], formula(model, window.tolist()))


def test_principal_factors_correct_scores_and_not_the_input(world, tiny_bert):
    """Against the same model without a correction, and A B' g_t written out."""
    recommender = make_engine(world, tiny_bert, factors="principal").recommender
    plain = make_engine(world, tiny_bert, factors="principal", item_rank=0).recommender
    assert not {"item_in.weight", "item_up.weight"} & set(AdapterSchema.of(recommender).names)
    inputs = windows()
    close(recommender(inputs), plain(inputs))  # A is zero at the start
    rows = torch.from_numpy(np.random.default_rng(3).normal(size=(ITEMS, 3)).astype(np.float32))
    recommender.item_out.weight.data.copy_(rows)
    close(recommender.hidden(inputs), plain.hidden(inputs))
    state = plain.hidden(inputs)
    state = state[..., :HIDDEN]
    close(recommender(inputs), plain(inputs) + state @ recommender.item_down.weight.T @ rows.T)


def test_parts_add_up_to_the_scores(model):
    for window in (windows(1)[0], torch.tensor([-1]), torch.tensor([4, 9])):
        parts = model.parts(model.state(window))
        for part in parts.history.values():
            assert part.shape == (len(window), ITEMS)
            assert not part[window < 0].any()
            assert part[window >= 0].any() == bool((window >= 0).any())
        close(parts.total, model(window[None])[0, -1])


def test_a_fresh_adapter_leaves_the_frozen_model_as_it_is(world, tiny_bert):
    """LoRA's B, the item correction, the core and the bias start at zero."""
    fresh = make_engine(world, tiny_bert).recommender
    bare = make_engine(
        world, tiny_bert, lora_rank=0, item_rank=0, projection_rank=0, item_bias=False
    ).recommender
    assert not [name for name, p in bare.named_parameters() if p.requires_grad]
    torch.testing.assert_close(fresh(windows()), bare(windows()))


def test_the_same_seed_gives_the_same_adapter_whatever_torch_drew_before(world, tiny_bert):
    def adapter(seed):
        torch.rand(3)
        recommender = make_engine(world, tiny_bert, seed=seed).recommender
        return {n: p.detach() for n, p in recommender.named_parameters() if p.requires_grad}

    first, again, other = adapter(1), adapter(1), adapter(2)
    for name in first:
        assert torch.equal(first[name], again[name]), name
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_only_the_adapter_is_trained_and_the_item_table_is_tied(model, world, tiny_bert):
    recommender = make_engine(world, tiny_bert).recommender
    trained = set(AdapterSchema.of(recommender).names)
    assert {"item_in.weight", "item_up.weight", "core.weight", "item_bias.weight"} <= trained
    assert "item_out.weight" not in trained
    assert recommender.item_out.weight is recommender.item_in.weight
    lora = [name for name in trained if "lora_" in name]
    assert len(lora) == 2 * 2 * 5  # query, value and three dense layers of two blocks, A and B
    needing = {n for n, p in recommender.named_parameters() if p.requires_grad}
    assert trained == needing | {"mix.weight", "moments_in.weight", "moments_out.weight"}
    assert set(AdapterSchema.of(recommender).trainable.names) == needing


def test_the_leading_text_components_are_orthonormal(model):
    close(model.basis.T @ model.basis, torch.eye(RICH["projection_rank"]))


def test_without_affinities_the_language_model_stands_alone(world, tiny_bert):
    alone = make_engine(world, tiny_bert, affinity_scale=0.0).recommender
    alone.mix.weight.zero_()
    parts = alone.parts(alone.state(windows(1)[0]))
    assert not parts.places.any()
    close(parts.language_model + parts.popularity, alone(windows(1))[0, -1])


def test_a_core_larger_than_the_space_takes_all_of_it(world, tiny_bert):
    """A preset's core then fits small catalogues and narrow backbones, too."""
    model = make_engine(world, tiny_bert, projection_rank=HIDDEN + 1).recommender
    assert model.core.weight.shape == (HIDDEN, HIDDEN)
    close(model.basis.T @ model.basis, torch.eye(HIDDEN))


def test_unknown_lora_targets_are_refused_in_one_line(world, tiny_bert):
    with pytest.raises(ConfigError, match=r"model.lora_targets = \['nothing'\]") as caught:
        make_engine(world, tiny_bert, lora_targets=("nothing",))
    assert "\n" not in str(caught.value)


def test_the_word_table_is_dropped_and_nothing_misses_it(world, tiny_bert):
    source = resolve(str(tiny_bert))
    vectors = np.random.default_rng(0).normal(size=(ITEMS, HIDDEN)).astype(np.float32)
    config = ModelConfig(**(RICH | {"backbone": str(tiny_bert)}))
    slim = build_recommender(source, vectors, config)
    whole = Recommender(load(source), vectors, config)
    assert slim.backbone.get_input_embeddings().weight.shape == (1, HIDDEN)
    torch.testing.assert_close(slim(windows()), whole(windows()))


def test_layers_are_cut(world, tiny_bert):
    one = make_engine(world, tiny_bert, layers=1).recommender
    assert len(one.backbone.encoder.layer) == 1
    with pytest.raises(ModelError, match="layers = 3: this backbone has 2"):
        make_engine(world, tiny_bert, layers=3)


KNOWN = torch.tensor([[0.0, 1, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])


@pytest.mark.parametrize("decay", range(len(DECAYS)))
def test_each_decay_is_a_mean_over_the_items_so_far(decay):
    mix = torch.zeros(1, len(DECAYS))
    mix[0, decay] = 1
    found = kernels(mix, KNOWN)[:, 0]  # [windows, length, length]
    for window, known in zip(found, KNOWN, strict=True):
        for t in range(5):
            met = [r for r in range(t + 1) if known[r]]
            weights = np.array([DECAYS[decay] ** (t - r) if r in met else 0 for r in range(5)])
            expected = weights / weights.sum() if met else weights
            np.testing.assert_allclose(window[t], expected, rtol=1e-5)


def test_kernels_are_linear_in_the_mix():
    one, other = torch.randn(2, 3, 4)
    together = kernels(2 * one - other, KNOWN)
    torch.testing.assert_close(together, 2 * kernels(one, KNOWN) - kernels(other, KNOWN))


def test_a_window_of_512_is_finite_where_the_last_item_is_far_back():
    known = torch.zeros(512)
    known[0] = 1
    assert torch.isfinite(kernels(torch.ones(1, 4), known)).all()


def test_summaries_take_each_block_with_its_own_weights():
    rows, mix = torch.randn(3, 5, 7), torch.randn(2, 4)
    found = summaries(mix, rows, KNOWN, [3, 4])
    own = kernels(mix, KNOWN)
    torch.testing.assert_close(found[..., :3], own[:, 0] @ rows[..., :3])
    torch.testing.assert_close(found[..., 3:], own[:, 1] @ rows[..., 3:])


def test_blocks_are_those_that_a_model_has():
    assert list(block_widths(8, 8, 0)) == ["text"]
    assert list(block_widths(8, 8 + EXTRA, 5)) == list(PRIOR)
    assert sum(block_widths(8, 8 + EXTRA, 5).values()) == 8 + EXTRA + 5
    assert initial_mix(list(PRIOR), torch.eye(8)).shape == (len(PRIOR), len(DECAYS))
    with pytest.raises(ValueError, match="Expected 8 or 112 columns, not 9"):
        block_widths(8, 9, 0)


@pytest.mark.parametrize("scale", [None, 0.0, 3.0])
def test_the_moments_scale_is_of_the_moments_alone(scale):
    start = starting_mix(list(PRIOR), torch.eye(8), ModelConfig(moments_scale=scale))
    plain = initial_mix(list(PRIOR), torch.eye(8))
    torch.testing.assert_close(start[:-1], plain[:-1])
    torch.testing.assert_close(start[-1], (1.0 if scale is None else scale) * plain[-1])


def test_a_table_of_text_alone_has_no_attributes(tiny_bert):
    vectors = np.random.default_rng(0).normal(size=(20, HIDDEN)).astype(np.float32)
    extra = np.random.default_rng(1).normal(size=(20, EXTRA)).astype(np.float32)
    config = ModelConfig(**(RICH | {"backbone": str(tiny_bert), "moments_rank": 0}))
    source = resolve(str(tiny_bert))
    plain = Recommender(load(source), vectors, config)
    wide = Recommender(load(source), np.concatenate([vectors, extra], axis=1), config)
    assert plain.mix.weight.shape == (1, 4)
    assert wide.mix.weight.shape == (4, 4)
    inputs = torch.tensor([[-1, 3, 4], [5, 6, -1]])
    for model in (plain, wide):
        model.mix.weight.zero_()
    torch.testing.assert_close(plain(inputs), wide(inputs))
    assert wide.hidden(inputs).shape == (2, 3, HIDDEN + EXTRA)
    wide.mix.weight[2] = 1.0  # years
    assert (plain(inputs) - wide(inputs))[1].abs().max() > 0.1


def test_the_prior_is_of_the_mean_and_of_what_later_means_add_to_it():
    drawn = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    text = torch.nn.functional.normalize(drawn)
    likeness = float((text @ text.T).square().mean().sqrt())
    last, late, later, whole = torch.eye(4)  # the means by decay, in the order of DECAYS
    for name, row in zip(PRIOR, initial_mix(list(PRIOR), text), strict=True):
        parts = (whole, later - whole, late - later, last - late)
        expected = sum(w * part for w, part in zip(PRIOR[name], parts, strict=True))
        torch.testing.assert_close(row, expected / (likeness if name == "text" else 1))
