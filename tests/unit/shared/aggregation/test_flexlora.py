"""FlexLoRA: the sum of products is exact, and what is dropped are its smallest singular values."""

import math

import numpy as np
import pytest
import torch

from shared.aggregation.flexlora import FlexLoRA, decomposed
from shared.aggregation.ranks import (
    leading,
    narrow,
    narrowed,
    product_change,
    product_name,
    products,
    rank_in,
    widen,
)
from shared.aggregation.selective import pairs
from shared.errors import ConfigError, ProtocolError
from simulations.world.world import World
from tests.support.asking import asked
from tests.support.clients import IN, OUT, RANK, SCHEMA, exchange, global_adapter, update_of
from tests.support.federations import point_config
from tests.support.tiny import make_engine, relative

RULE = FlexLoRA((RANK,))
SPACE = products(SCHEMA)
NODES = list(range(20, 26))


def factors(vector, down, up):
    tensors = SCHEMA.unflatten(torch.from_numpy(np.asarray(vector, dtype=np.float64)))
    return tensors[up].numpy(), tensors[down].numpy()


def clients(ranks):
    """Every client's rank, its own delta, and its factors and bias after training: zero-padded."""
    met = exchange(ranks, NODES)
    theta = global_adapter().astype(np.float32)
    rng = np.random.default_rng(1)
    found = []
    for node in NODES:
        rank = ranks[node % len(ranks)]
        delta = rng.normal(0, 0.2, met.up(rank).dim).astype(np.float32)
        at = leading(SCHEMA, rank)
        sent, own = np.zeros(SCHEMA.dim), np.zeros(SCHEMA.dim)
        sent[at] = theta[at]
        own[at] = theta[at].astype(np.float64) + delta
        found.append((rank, delta, sent, own))
    return met, found


@pytest.mark.parametrize("ranks", [(3,), (1, 3), (2, 1, 3)])
def test_the_sum_before_it_is_decomposed_is_that_of_products(ranks):
    met, found = clients(ranks)
    arrays = SCHEMA.split(global_adapter())
    opened = met.opener(arrays, None)
    updates = [
        opened(update_of(met, rank, delta), [node])
        for node, (rank, delta, _, _) in zip(NODES, found, strict=True)
    ]
    total = RULE.combine(updates, SPACE.dim)
    mean = RULE.enter(SCHEMA, SCHEMA.join(arrays)) + total / len(NODES)
    for down, up in pairs(SCHEMA.names):
        b, a = factors(SCHEMA.join(arrays), down, up)
        changes = []
        for _, _, sent, own in found:
            b_given, a_given = factors(sent, down, up)
            b_own, a_own = factors(own, down, up)
            changes.append(b_own @ a_own - b_given @ a_given)
            if len(ranks) == 1:  # of the full rank: the mean of products itself
                assert relative(b_given @ a_given, b @ a) < 1e-6
        expected = b @ a + np.mean(changes, axis=0)
        got = mean[SPACE.slice_of(product_name(down))].reshape(expected.shape)
        assert relative(got, expected) < 1e-6
    bias = SCHEMA.slice_of("item_bias.weight")
    own = np.mean([own[bias] for _, _, _, own in found], axis=0)
    np.testing.assert_allclose(mean[SPACE.slice_of("item_bias.weight")], own, atol=1e-6)


def test_with_equal_ranks_the_mean_is_that_of_the_clients_products():
    met, found = clients((RANK,))
    opened = met.opener(SCHEMA.split(global_adapter()), None)
    pieces = zip(NODES, found, strict=True)
    total = sum(
        opened(update_of(met, rank, delta), [node]).vector.astype(np.float64)
        for node, (rank, delta, _, _) in pieces
    )
    mean = RULE.enter(SCHEMA, global_adapter().astype(np.float32)) + total / len(NODES)
    for down, up in pairs(SCHEMA.names):
        theirs = [np.matmul(*factors(own, down, up)) for _, _, _, own in found]
        got = mean[SPACE.slice_of(product_name(down))].reshape(theirs[0].shape)
        assert relative(got, np.mean(theirs, axis=0)) < 1e-6
        # Negative control: the product of means is another matrix.
        b, a = (
            np.mean(x, axis=0) for x in zip(*(factors(o, down, up) for *_, o in found), strict=True)
        )
        assert relative(b @ a, np.mean(theirs, axis=0)) > 1e-2


@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (5, 5), (3, 2)])
def test_the_error_is_the_tail_of_singular_values(shape):
    product = np.random.default_rng(2).normal(size=shape)
    up, down = decomposed(product, np.random.default_rng(3).normal(size=(RANK, shape[1])))
    s = np.linalg.svd(product, compute_uv=False)
    tail = math.sqrt((s[RANK:] ** 2).sum())
    assert np.linalg.norm(product - up @ down) == pytest.approx(tail, abs=1e-12)
    assert np.linalg.norm(product - up @ down, 2) == pytest.approx([*s, 0.0][min(RANK, len(s))])
    kept = min(RANK, *shape)
    np.testing.assert_allclose(down[:kept] @ down[:kept].T, np.eye(kept), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(up, axis=0)[:kept], s[:kept], rtol=1e-12)


def test_a_leading_part_is_the_best_of_its_rank():
    product = np.random.default_rng(4).normal(size=(7, 5))
    up, down = decomposed(product, np.zeros((RANK, 5)))
    s = np.linalg.svd(product, compute_uv=False)
    for rank in (1, 2, 3):
        apart = np.linalg.norm(product - up[:, :rank] @ down[:rank], 2)
        assert apart == pytest.approx(s[rank])


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_where_nothing_was_learned_there_is_still_something_to_learn_along(rank):
    """A product of fewer directions: its B is zero there, its A is not."""
    rng = np.random.default_rng(5)
    product = rng.normal(size=(7, rank)) @ rng.normal(size=(rank, 5))
    before = rng.normal(size=(RANK, 5))
    up, down = decomposed(product, before)
    np.testing.assert_allclose(up @ down, product, atol=1e-12)
    assert not up[:, rank:].any()
    np.testing.assert_allclose(down @ down.T, np.eye(RANK), atol=1e-12)
    # The directions that fill are A's own.
    spanned = np.concatenate([before, down[:rank]])
    assert np.linalg.matrix_rank(np.concatenate([spanned, down])) == np.linalg.matrix_rank(spanned)


def test_leaving_and_entering_is_the_same_model():
    theta = global_adapter()
    inside = RULE.enter(SCHEMA, theta)
    after = RULE.leave(SCHEMA, inside, theta)
    np.testing.assert_allclose(RULE.enter(SCHEMA, after), inside, atol=1e-12)
    again = RULE.leave(SCHEMA, RULE.enter(SCHEMA, after), after)
    np.testing.assert_allclose(again, after, atol=1e-10)  # signs and order are fixed


def test_what_is_sent_is_the_leading_part_and_comes_back_wide():
    arrays = SCHEMA.split(global_adapter())
    for rank in (1, 2, 3):
        small = narrow(arrays, rank)
        assert rank_in(small) == rank
        assert {n: a.shape for n, a in small.items()} == dict(
            zip(SCHEMA.names, narrowed(SCHEMA, rank).shapes, strict=True)
        )
        wide = SCHEMA.join(widen(SCHEMA, small))
        at = leading(SCHEMA, rank)
        assert len(at) == narrowed(SCHEMA, rank).dim
        np.testing.assert_array_equal(wide[at], SCHEMA.join(arrays)[at])
        assert np.count_nonzero(wide) == len(at)


@pytest.mark.parametrize("wrong", ["a pair of two ranks", "larger than the model's"])
def test_factors_that_do_not_fit_are_refused(wrong):
    arrays = SCHEMA.split(global_adapter())
    small = narrow(arrays, 2)
    name = "backbone.a.lora_B.default.weight"
    if wrong == "a pair of two ranks":
        small[name] = arrays[name]
    else:
        small = {n: np.repeat(a, 2, axis=0 if "lora_A" in n else 1) for n, a in arrays.items()}
    with pytest.raises(ProtocolError, match=r"lora_\w\.default\.weight.*expected"):
        widen(SCHEMA, small)


def test_a_client_of_low_rank_trains_nothing_beyond_it(tiny_bert):
    """In the model of full rank what it was not given stands at zero and stays there."""
    engine = make_engine(World(users=4, items=30), tiny_bert)
    config = point_config(
        tiny_bert,
        federation={"aggregation": "flexlora", "ranks": [1, 2]},
        train={"local_steps": 3, "weight_decay": 0.1},
    )
    arrays = engine.schema.split(np.random.default_rng(0).normal(0, 0.1, engine.schema.dim))
    request = asked(config, arrays=narrow(arrays, 1))
    beyond = np.ones(engine.schema.trainable.dim, dtype=bool)
    beyond[leading(engine.schema.trainable, 1)] = False
    (deltas,) = (found.numpy() for _, found in engine.deltas(request, [0, 1]))
    for delta in deltas:
        assert np.abs(delta[~beyond]).max() > 0
        assert not delta[beyond].any()


def test_a_change_computed_in_pieces_is_the_difference_of_products():
    theta = global_adapter().astype(np.float32)
    delta = np.random.default_rng(7).normal(size=SCHEMA.dim).astype(np.float32)
    change = product_change(SCHEMA, SCHEMA.split(theta), RANK, torch.from_numpy(delta))
    after = RULE.enter(SCHEMA, theta.astype(np.float64) + delta)
    expected = after - RULE.enter(SCHEMA, theta.astype(np.float64))
    assert relative(change.numpy(), expected) < 1e-6
    assert change.shape == (SPACE.dim,) == (2 * OUT * IN + 4,)


REFUSED = {
    "privacy.trust = local": {"privacy": {"trust": "local", "unit": "example"}},
    "privacy.trust = distributed": {"privacy": {"trust": "distributed"}},
    "privacy.adaptive_clipping = 0.5": {"privacy": {"adaptive_clipping": 0.5}},
    "privacy.unit = example": {"privacy": {"unit": "example"}},
    "privacy.unit = both": {"privacy": {"unit": "both"}},
    "model.lora_rank = 0": {"model": {"lora_rank": 0}},
}


@pytest.mark.parametrize("other", REFUSED)
def test_what_does_not_go_with_it_is_refused_by_both_names(other, tiny_bert):
    with pytest.raises(ConfigError, match=rf"aggregation = flexlora does not go with {other}"):
        point_config(tiny_bert, federation={"aggregation": "flexlora"}, **REFUSED[other])


@pytest.mark.parametrize("rule", ["fedit", "ffa", "fedsa"])
def test_ranks_are_for_it_alone(rule, tiny_bert):
    with pytest.raises(
        ConfigError, match=rf"= {rule} does not go with federation.ranks = \[1, 2\]"
    ):
        point_config(tiny_bert, federation={"aggregation": rule, "ranks": [1, 2]})


def test_ranks_are_at_most_the_models(tiny_bert):
    with pytest.raises(
        ConfigError, match=r"ranks = \[1, 9\]: expected at most model.lora_rank = 2"
    ):
        point_config(tiny_bert, federation={"aggregation": "flexlora", "ranks": [1, 9]})
