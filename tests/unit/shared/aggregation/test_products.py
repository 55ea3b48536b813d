"""What each rule promises of the aggregated product, through the server's own sum and step."""

import numpy as np
import pytest

from server.optimizer import ServerOptimizer
from shared.aggregation import RULES, Carried
from shared.aggregation.rule import AggregationRule
from shared.aggregation.selective import downs, pairs, ups
from shared.config import FederationConfig
from shared.config.rules import factors_of
from shared.update import Update
from simulations.world.world import World
from tests.support.factors import products
from tests.support.tiny import make_engine, random_adapter, relative

pytestmark = pytest.mark.usefixtures("flower")

CLIENTS = 7
PLAIN = FederationConfig(server_optimizer="fedavgm", server_lr=1.0, beta_1=0.0)
# Not exact; a product for every device; products themselves are summed (tests of their own).
OTHERS = ("fedit", "fedsa", "flexlora")
EXACT = [(name, turn) for name in RULES if name not in OTHERS for turn in (1, 2)]


@pytest.fixture(scope="module")
def schemas(tiny_bert):
    """Of models whose factors begin in each way."""
    return {
        factors: make_engine(World(users=3, items=40), tiny_bert, factors=factors).schema
        for factors in ("drawn", "principal", "core")
    }


def schema_of(schemas, rule):
    return schemas[factors_of(rule.name)]


def aggregated(rule, schema, round_number):
    """The next global adapter, and every client's own: float64 [dim] and [CLIENTS, dim]."""
    part = schema.subset(rule.trained(schema.names, round_number))
    where = schema.places(part)
    rng = np.random.default_rng(round_number)
    theta = random_adapter(schema).numpy().astype(np.float64)
    deltas = rng.normal(0, 0.1, (CLIENTS, part.dim)).astype(np.float32)
    updates = [Update(d, 1.0, float(np.linalg.norm(d)), part.digest) for d in deltas]
    mean = rule.combine(updates, part.dim) / CLIENTS
    own = np.tile(theta, (CLIENTS, 1))
    own[:, where] += deltas
    return ServerOptimizer(PLAIN).step(round_number, theta, mean, where), own


def error(rule, schema, round_number):
    """How far the product of the aggregate is from the mean of the clients' products."""
    theta, own = aggregated(rule, schema, round_number)
    theirs = [products(schema, adapter) for adapter in own]
    means = [np.mean(layer, axis=0) for layer in zip(*theirs, strict=True)]
    return [mean - product for mean, product in zip(means, products(schema, theta), strict=True)]


@pytest.mark.parametrize(("name", "turn"), EXACT)
def test_the_product_of_the_aggregate_is_the_mean_of_products(name, turn, schemas):
    rule = RULES[name]
    schema = schema_of(schemas, rule)
    sizes = [np.abs(p).max() for p in products(schema, random_adapter(schema).numpy())]
    apart = [np.abs(e).max() for e in error(rule, schema, turn)]
    assert max(a / s for a, s in zip(apart, sizes, strict=True)) < 1e-13


def test_fedits_error_is_what_its_page_says(schemas):
    """mean((B_i - mean B) (A_i - mean A)), and nothing like rounding."""
    rule, schema = RULES["fedit"], schemas["drawn"]
    _, own = aggregated(rule, schema, 1)
    expected = []
    for down, up in pairs(schema.names):
        shapes = dict(zip(schema.names, schema.shapes, strict=True))
        a = own[:, schema.slice_of(down)].reshape(CLIENTS, *shapes[down])
        b = own[:, schema.slice_of(up)].reshape(CLIENTS, *shapes[up])
        expected.append(np.mean((b - b.mean(0)) @ (a - a.mean(0)), axis=0))
    for found, wanted in zip(error(rule, schema, 1), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-9)
        assert np.abs(wanted).max() > 1e-4


class Both(AggregationRule):
    """Negative control: says that A is fixed and trains it all the same."""

    name = "both"

    def fixed(self, names):
        return downs(names)

    def trained(self, names, round_number):
        return tuple(names)


def test_a_rule_that_trains_both_factors_is_seen(schemas):
    assert max(np.abs(e).max() for e in error(Both(), schemas["drawn"], 1)) > 1e-4


@pytest.mark.parametrize("name", RULES)
def test_what_is_not_of_a_pair_is_trained_in_every_round(name, schemas):
    rule = RULES[name]
    names = schema_of(schemas, rule).names
    still = {*rule.fixed(names), *rule.released(names)}
    assert set(rule.released(names)) == {"mix.weight", "moments_in.weight", "moments_out.weight"}
    others = [n for n in names if ".lora_" not in n and n not in still]
    assert len(others) >= 3  # item correction, core, bias
    for turn in (1, 2, 3):
        assert set(others) <= set(rule.local(names, turn))
        assert not set(rule.local(names, turn)) & still


def test_factors_take_turns_and_b_is_first(schemas):
    """At the start B is zero, and A would have no gradient."""
    rule, names = RULES["alternating"], schemas["drawn"].names
    odd, even = (set(rule.trained(names, turn)) for turn in (1, 2))
    assert not odd & set(downs(names))
    assert set(ups(names)) <= odd
    assert not even & set(ups(names))
    assert set(downs(names)) <= even
    assert odd | even | set(rule.released(names)) == set(names)


@pytest.mark.parametrize("name", RULES)
def test_the_server_changes_no_product_when_it_refactors(name, schemas):
    rule = RULES[name]
    schema = schema_of(schemas, rule)
    before = random_adapter(schema).numpy().astype(np.float64)
    after = rule.refactor(schema, Carried(before, {}, {})).adapter
    for old, new in zip(products(schema, before), products(schema, after), strict=True):
        assert relative(new, old) < 1e-12
    assert (relative(after, before) > 0.1) == (name == "fedsvd")
