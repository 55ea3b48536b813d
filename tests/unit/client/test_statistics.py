"""What a device gives beside its update: one bit, and metrics where their noise is agreed."""

import math

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from client.app import create_app
from client.device.device import Device
from shared.errors import ProtocolError
from shared.metrics import discounted_gains, hits
from simulations.world.world import World
from tests.support.asking import asked, letters
from tests.support.federations import point_config
from tests.support.tiny import make_engine, random_adapter

pytestmark = pytest.mark.usefixtures("flower")

ADAPTIVE = {"adaptive_clipping": 0.5, "clipping_norm": 0.5}
MEASURED = {"metrics_share": 0.2}


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=5, items=60), tiny_bert)


@pytest.fixture(scope="module")
def arrays(engine):
    return engine.schema.split(random_adapter(engine.schema).numpy())


def device_with(engine, history):
    return Device(np.asarray(history, dtype=np.int64), 2, engine.recommender)


@pytest.fixture
def device(engine):
    return device_with(engine, engine.population.history(2))


def test_the_bit_says_whether_the_update_was_within_the_rounds_clip(device, arrays, tiny_bert):
    free = device.answer(asked(point_config(tiny_bert, math.inf), arrays=arrays)).norm
    config = point_config(tiny_bert, privacy=ADAPTIVE | {"clipping_norm": free})
    within = device.answer(asked(config, arrays=arrays, clip=free * 1.01))
    beyond = device.answer(asked(config, arrays=arrays, clip=free * 0.99))
    assert (within.bits, beyond.bits) == (0.5, -0.5)
    assert within.norm == pytest.approx(free, rel=1e-5)
    assert free * 0.99 * (1 - 1e-5) < beyond.norm <= free * 0.99


@pytest.mark.parametrize("clip", [0.0, math.nan, math.inf, -1.0, 1e9])
def test_a_round_whose_clip_is_out_of_range_gets_nothing(clip, device, arrays, tiny_bert):
    config = point_config(tiny_bert, privacy=ADAPTIVE)
    with pytest.raises(ProtocolError, match="clipping norm"):
        device.answer(asked(config, arrays=arrays, clip=clip))


def test_a_server_cannot_widen_a_clip_that_is_fixed(device, arrays, tiny_bert):
    """Nor ask for bits: nothing would noise them."""
    config = point_config(tiny_bert, privacy={"clipping_norm": 0.01})
    update = device.answer(asked(config, arrays=arrays, clip=400.0))
    assert update.norm <= 0.01
    assert update.bits == 0


def test_metrics_are_of_the_validation_item(device, arrays, tiny_bert):
    config = point_config(tiny_bert, privacy=MEASURED)
    (rank,) = device.answer(asked(config, "ranks", arrays=arrays)).sampled
    update = device.answer(asked(config, "metrics", arrays=arrays))
    expected = np.array([hits([rank])[0], discounted_gains([rank])[0], 1.0]) - 0.5
    np.testing.assert_allclose(update.vector, expected, atol=1e-6)
    assert update.norm <= math.sqrt(0.75) * (1 + 1e-9)


def test_someone_without_a_held_out_item_is_as_one_who_is_not_there(engine, arrays, tiny_bert):
    config = point_config(tiny_bert, privacy=MEASURED)
    update = device_with(engine, [3, 4]).answer(asked(config, "metrics", arrays=arrays))
    assert update.vector.tolist() == [0, 0, 0]


def asked_over_the_relay(device, arrays, config, digest):
    app = create_app(lambda context, request: device)  # a real node's: no evaluator
    (message,) = letters([2], asked(config, "metrics", 3, arrays=arrays, schema=digest))
    return app(message, Context(1, 2, {}, RecordDict(), {})).content


def test_a_real_node_gives_metrics_where_noise_is_agreed(device, engine, arrays, tiny_bert):
    config = point_config(tiny_bert, privacy=MEASURED)
    found = asked_over_the_relay(device, arrays, config, engine.schema.digest)
    vector = found.array_records["update"]["vector"].numpy()
    np.testing.assert_array_equal(
        vector, device.answer(asked(config, "metrics", arrays=arrays)).vector
    )


@pytest.mark.parametrize("epsilon", [2.0, math.inf])
def test_a_real_node_refuses_metrics_that_nothing_noises(
    epsilon, device, engine, arrays, tiny_bert
):
    share = 0.0 if math.isfinite(epsilon) else 0.2
    config = point_config(tiny_bert, epsilon, privacy={"metrics_share": share})
    with pytest.raises(ProtocolError, match="nothing would noise them"):
        device.answer(asked(config, "metrics", 3, arrays=arrays))
    with pytest.raises(ProtocolError, match="could not answer"):
        asked_over_the_relay(device, arrays, config, engine.schema.digest)
