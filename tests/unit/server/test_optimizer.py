"""The server's step equals Flower's, digit for digit, and the published formulas."""

import math

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvgM, FedYogi

from server.optimizer import ServerOptimizer
from shared.config import FederationConfig

pytestmark = pytest.mark.usefixtures("flower")

DIM, ROUNDS = 6, 5


def updates():
    rng = np.random.default_rng(3)
    return rng.normal(size=(ROUNDS, DIM)), rng.normal(size=DIM)


def run(config, start, deltas, optimizer=None, first=1):
    optimizer = optimizer or ServerOptimizer(config)
    theta = start
    for number, delta in enumerate(deltas, first):
        theta = optimizer.step(number, theta, delta)
    return theta, optimizer


def flower(config, start, deltas):
    """Flower's own strategies, each handed one reply a round: the average is the reply."""
    adaptive = {"eta": config.server_lr, "beta_1": config.beta_1, "beta_2": config.beta_2}
    strategy = {
        "fedavgm": lambda: FedAvgM(
            server_learning_rate=config.server_lr, server_momentum=config.beta_1
        ),
        "fedadam": lambda: FedAdam(**adaptive, tau=config.tau),
        "fedyogi": lambda: FedYogi(**adaptive, tau=config.tau),
    }[config.server_optimizer]()
    theta = start
    for number, delta in enumerate(deltas, 1):
        avgm = config.server_optimizer == "fedavgm"
        strategy.current_arrays = ArrayRecord({"x": Array(theta)}) if avgm else {"x": theta}
        content = {
            "arrays": ArrayRecord({"x": Array(theta + delta)}),
            "metrics": MetricRecord({"num-examples": 1}),
        }
        reply = Message(RecordDict(content), dst_node_id=1, message_type=MessageType.TRAIN)
        theta = strategy.aggregate_train(number, [reply])[0]["x"].numpy()
    return theta


NAMES = ("fedavgm", "fedadam", "fedyogi")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("beta_1", [0.0, 0.9])
def test_equals_flower_to_the_digit(name, beta_1):
    config = FederationConfig(server_optimizer=name, server_lr=0.3, beta_1=beta_1, rounds=ROUNDS)
    deltas, start = updates()
    theta, _ = run(config, start, deltas)
    np.testing.assert_array_equal(theta, flower(config, start, deltas))
    assert theta.dtype == np.float64


def sgd_momentum(config, start, deltas):
    theta, momentum = start.copy(), np.zeros(DIM)
    for delta in deltas:
        momentum = config.beta_1 * momentum + delta
        theta = theta + config.server_lr * momentum
    return theta


def adam(config, start, deltas):
    """Reddi et al. 2021 with Flower's bias correction, whose exponent is the round plus one."""
    theta, m, v = start.copy(), np.zeros(DIM), np.zeros(DIM)
    for number, delta in enumerate(deltas, 1):
        m = config.beta_1 * m + (1 - config.beta_1) * delta
        v = config.beta_2 * v + (1 - config.beta_2) * delta**2
        power = number + 1
        rate = config.server_lr * math.sqrt(1 - config.beta_2**power) / (1 - config.beta_1**power)
        theta = theta + rate * m / (np.sqrt(v) + config.tau)
    return theta


def yogi(config, start, deltas):
    theta, m, v = start.copy(), np.zeros(DIM), np.zeros(DIM)
    for delta in deltas:
        m = config.beta_1 * m + (1 - config.beta_1) * delta
        v = v - (1 - config.beta_2) * delta**2 * np.sign(v - delta**2)
        theta = theta + config.server_lr * m / (np.sqrt(v) + config.tau)
    return theta


FORMULAS = {"fedavgm": sgd_momentum, "fedadam": adam, "fedyogi": yogi}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("beta_1", [0.0, 0.9])
def test_equals_the_formula(name, beta_1):
    config = FederationConfig(server_optimizer=name, server_lr=0.3, beta_1=beta_1, rounds=ROUNDS)
    deltas, start = updates()
    theta, _ = run(config, start, deltas)
    np.testing.assert_allclose(theta, FORMULAS[name](config, start, deltas), rtol=1e-12)
    assert theta.dtype == np.float64


def test_rate_one_without_momentum_is_plain_averaging():
    config = FederationConfig(server_optimizer="fedavgm", server_lr=1.0, beta_1=0.0)
    deltas, start = updates()
    theta, _ = run(config, start, deltas)
    np.testing.assert_allclose(theta, start + deltas.sum(0), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", [0, 1, 3])
def test_restored_continues_exactly(name, cut):
    config = FederationConfig(server_optimizer=name, server_lr=0.3, rounds=ROUNDS)
    deltas, start = updates()
    whole, _ = run(config, start, deltas)
    theta, first = run(config, start, deltas[:cut])
    second = ServerOptimizer(config)
    second.restore(first.state())
    theta, _ = run(config, theta, deltas[cut:], second, first=cut + 1)
    np.testing.assert_array_equal(theta, whole)


@pytest.mark.parametrize(
    ("decay", "shares"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5 * (1 + math.cos(math.pi * t / 4)) for t in range(4)]),
    ],
)
def test_the_rate_decays_over_the_rounds(decay, shares):
    config = FederationConfig(
        server_optimizer="fedavgm", server_lr=2.0, beta_1=0.0, rounds=4, lr_decay=decay
    )
    optimizer, zero = ServerOptimizer(config), np.zeros(1)
    moved = [float(optimizer.step(t, zero, np.ones(1))[0]) for t in range(1, 5)]
    assert moved == pytest.approx([2 * share for share in shares], rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_round_does_not_train_stays_and_so_do_its_moments(name):
    """Two coordinates take turns, the third moves always: each as if it were alone, but for Adam's
    correction, which counts all rounds.
    """
    config = FederationConfig(server_optimizer=name, server_lr=0.3, beta_1=0.8, rounds=ROUNDS)
    optimizer, theta = ServerOptimizer(config), np.array([1.0, 2.0, 3.0])
    for number in range(1, ROUNDS + 1):
        where = np.array([number % 2, 2])
        before, moments = theta, optimizer.state()
        theta = optimizer.step(number, theta, np.array([0.5, 0.25]), where)
        assert (theta != before).tolist() == [i in where for i in range(3)]
        for kind, moment in moments.items():
            still = 1 - number % 2
            assert optimizer.state()[kind][still] == moment[still]
    alone = ServerOptimizer(config)
    last = np.array([3.0])
    for number in range(1, ROUNDS + 1):
        last = alone.step(number, last, np.array([0.25]))
    assert theta[2] == last[0]


def test_momentum_of_a_coordinate_skips_the_rounds_without_it():
    config = FederationConfig(
        server_optimizer="fedavgm", server_lr=1.0, beta_1=0.5, rounds=ROUNDS, lr_decay="constant"
    )
    optimizer, theta = ServerOptimizer(config), np.zeros(2)
    for number, where in enumerate(([0], [1], [1], [0]), 1):
        theta = optimizer.step(number, theta, np.ones(1), np.array(where))
    np.testing.assert_allclose(theta, [1 + 1.5, 1 + 1.5])
