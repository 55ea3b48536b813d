"""FedSVD: another pair of the same product, and a past that turns with it."""

import numpy as np
import pytest

from server.optimizer import SQUARES, ServerOptimizer
from shared.aggregation import Carried
from shared.aggregation.fedsvd import FedSVD, refactored
from shared.config import FederationConfig
from shared.model.adapter import AdapterSchema
from tests.support.factors import products
from tests.support.tiny import relative

pytestmark = pytest.mark.usefixtures("flower")

OUT, RANK, IN, ROUNDS = 6, 3, 5, 8
A, B = "x.lora_A.default.weight", "x.lora_B.default.weight"
SCHEMA = AdapterSchema((A, B, "y"), ((RANK, IN), (OUT, RANK), (4,)))
RULE = FedSVD()


def pair(seed=0, out=OUT, rank=RANK, width=IN):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(out, rank)), rng.normal(size=(rank, width))


@pytest.mark.parametrize(
    ("up", "down"),
    [
        pair(),
        pair(1, out=2),  # fewer outputs than the rank
        (np.zeros((OUT, RANK)), pair()[1]),  # before the first round
        (np.outer(np.ones(OUT), [1.0, 0.0, 2.0]), pair()[1]),  # B of rank one
        (1e-200 * pair()[0], pair()[1]),
    ],
    ids=["full", "narrow", "zero", "rank one", "tiny"],
)
def test_same_product_orthonormal_rows(up, down):
    new_up, new_down, turn = refactored(up, down)
    assert new_up.shape == up.shape
    assert new_down.shape == down.shape
    np.testing.assert_allclose(new_up @ new_down, up @ down, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(new_down @ new_down.T, np.eye(RANK), atol=1e-12)
    np.testing.assert_allclose(turn @ new_down, down, atol=1e-12)  # the rows span the same space
    lengths = np.linalg.norm(new_up, axis=0)
    assert (np.diff(lengths) <= 1e-9 * lengths.max(initial=1e-300)).all()  # what matters most first


def test_a_rank_beyond_the_width_keeps_the_product():
    up, down = pair(out=4, rank=5, width=3)
    new_up, new_down, _ = refactored(up, down)
    np.testing.assert_allclose(new_up @ new_down, up @ down, atol=1e-12)


def test_twice_is_once():
    """Signs too: of two that fit it takes one, whatever the library found."""
    once = refactored(*pair())
    for flip in ([1, 1, 1], [1, -1, 1], [-1, -1, -1]):
        twice = refactored(once[0] * flip, once[1] * np.array(flip)[:, None])
        for ours, theirs in zip(twice[:2], once[:2], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-10)


def trajectory(rule, optimizer, **settings):
    """Products of the iterates and of their mean under gradients of a quadratic in the product."""
    server = ServerOptimizer(
        FederationConfig(server_optimizer=optimizer, rounds=ROUNDS, **settings)
    )
    rng = np.random.default_rng(4)
    target, (up, down) = rng.normal(size=(OUT, IN)), pair(5)
    theta = SCHEMA.join({A: np.linalg.qr(down.T)[0].T, B: 0 * up, "y": np.zeros(4)})
    where = SCHEMA.places(SCHEMA.subset((B, "y")))
    average, iterates = np.zeros(SCHEMA.dim), []
    for number in range(1, ROUNDS + 1):
        (product,) = products(SCHEMA, theta)
        a = theta[SCHEMA.slice_of(A)].reshape(RANK, IN)
        delta = np.concatenate([((target - product) @ a.T).ravel(), np.ones(4)])
        theta = server.step(number, theta, 0.1 * delta, where)
        average = average + theta
        theta, average = turned(rule, server, theta, average, number)
        iterates.append(products(SCHEMA, theta)[0])
    return iterates, products(SCHEMA, average / ROUNDS)[0]


def turned(rule, server, theta, average, averaged):
    if rule is None:
        return theta, average
    moments = server.state()
    squares = {name: moments.pop(name) for name in SQUARES if name in moments}
    new = rule.refactor(SCHEMA, Carried(theta, {**moments, "average": average}, squares, averaged))
    server.restore({n: v for n, v in {**new.sums, **new.squares}.items() if n != "average"})
    return new.adapter, new.sums["average"]


class Forgetful(FedSVD):
    """Negative control: leaves the server's memory in the old coordinates."""

    def refactor(self, schema, carried):
        return Carried(super().refactor(schema, carried).adapter, carried.sums, carried.squares)


SETTINGS = {"server_lr": 0.8, "beta_1": 0.7}


def test_momentum_and_averages_turn_with_the_factors():
    """Momentum is linear: in any orthonormal coordinates it walks the same way."""
    expected, mean = trajectory(None, "fedavgm", **SETTINGS)
    found, found_mean = trajectory(RULE, "fedavgm", **SETTINGS)
    for ours, theirs in zip(found, expected, strict=True):
        assert relative(ours, theirs) < 1e-10
    assert relative(found_mean, mean) < 1e-10
    wrong, wrong_mean = trajectory(Forgetful(), "fedavgm", **SETTINGS)
    assert relative(wrong[-1], expected[-1]) > 0.05
    assert relative(wrong_mean, mean) > 0.05


@pytest.mark.parametrize("optimizer", ["fedadam", "fedyogi"])
def test_second_moments_stay_second_moments(optimizer):
    """Never negative, and their sum over a row's coordinates is kept: a turn loses no energy."""
    up, down = pair(7)
    down = np.linalg.qr(down.T)[0].T
    theta = SCHEMA.join({A: down, B: up, "y": np.ones(4)})
    v = np.abs(np.random.default_rng(1).normal(size=SCHEMA.dim))
    new = RULE.refactor(SCHEMA, Carried(theta, {"m": v}, {"v": v}))
    at = SCHEMA.slice_of(B)
    rows = [x[at].reshape(OUT, RANK).sum(1) for x in (v, new.squares["v"])]
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-10)
    assert (new.squares["v"] >= 0).all()
    np.testing.assert_array_equal(new.squares["v"][SCHEMA.slice_of("y")], v[SCHEMA.slice_of("y")])
    loss = [np.linalg.norm(p) for p in trajectory(RULE, optimizer, server_lr=0.05)[0]]
    assert np.isfinite(loss).all()
