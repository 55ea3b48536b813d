"""The device answers three questions, within its clip, and the relay passes them on."""

import numpy as np
import pytest
import torch
from flwr.app import Context, RecordDict

import client.app
from client.app import create_app
from client.device.device import Device
from client.messages import parse
from client.training.batches import local_batches, user_windows
from client.training.train import local_update
from shared.canonical import policy_digest
from shared.data.split import sample_negatives
from shared.data.windows import context_window
from shared.errors import ProtocolError
from shared.metrics import rank_of_target
from shared.model.adapter import install
from shared.privacy.contribution.histogram import histogram_schema, user_histogram
from shared.privacy.contribution.moments import exact_basis, moments_basis
from shared.request import Ranks
from simulations.world.world import World
from tests.support.asking import asked, letters
from tests.support.federations import point_config
from tests.support.tiny import LENGTH, make_engine, random_adapter

pytestmark = pytest.mark.usefixtures("flower")


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=4, items=60), tiny_bert)


@pytest.fixture
def device(engine):
    return Device(engine.population.history(2), 2, engine.recommender, simulated=True)


@pytest.fixture
def arrays(engine):
    return engine.schema.split(random_adapter(engine.schema).numpy())


def test_the_update_is_the_clipped_delta(engine, device, arrays, tiny_bert):
    config = point_config(tiny_bert)
    update = device.answer(asked(config, number=3, arrays=arrays))
    cut = user_windows(device.history, config)
    inputs, targets = (torch.from_numpy(part) for part in local_batches(cut, config, 3, 2))
    part = engine.schema.part(random_adapter(engine.schema), engine.schema.trainable.names)
    raw, _ = local_update(
        engine.recommender, part.schema, part.start, inputs, targets, 0.5, 0.0, part.frozen
    )
    assert raw.norm() > 0.5
    np.testing.assert_allclose(update.vector, 0.5 * raw / raw.norm(), rtol=1e-4, atol=1e-7)
    assert update.norm == pytest.approx(0.5, rel=1e-6)
    assert update.norm <= 0.5
    assert (update.weight, update.schema) == (1.0, part.schema.digest)


def test_moments_are_those_that_the_settings_give(device, tiny_bert):
    """Under a budget no server has a device answer for each pair of items, nor the reverse."""
    counts = np.arange(60.0)
    exact, noised = exact_basis(counts), moments_basis(counts, 1.0, {})
    for epsilon, right, wrong in ((2.0, noised, exact), (float("inf"), exact, noised)):
        config = point_config(tiny_bert, epsilon=epsilon)
        sent = device.answer(asked(config, "moments", 0, arrays=right.arrays()))
        assert len(sent.vector) == right.dim
        with pytest.raises(ProtocolError, match="moments: asked for"):
            device.answer(asked(config, "moments", 0, arrays=wrong.arrays()))


def test_at_infinite_epsilon_nothing_is_clipped(device, arrays, tiny_bert):
    update = device.answer(
        asked(point_config(tiny_bert, epsilon=float("inf")), number=3, arrays=arrays)
    )
    assert update.norm > 0.5


@pytest.mark.parametrize(
    "history", [[], [5], [5, 6]], ids=["no interaction", "one interaction", "two interactions"]
)
def test_short_histories(history, engine, arrays, tiny_bert):
    config = point_config(tiny_bert)
    device = Device(np.array(history, dtype=np.int64), 0, engine.recommender, simulated=True)
    update = device.answer(asked(config, number=1, arrays=arrays))
    assert bool(update.vector.any()) == bool(history)
    for phase in ("test", "validation"):
        ranks = device.answer(asked(config, "ranks", arrays=arrays, phase=phase))
        assert ranks == Ranks([], [])
    assert device.answer(asked(config, "histogram", 0)).norm == pytest.approx(
        1.0 if history else 0.0
    )


def test_ranks_are_those_of_the_whole_model(engine, device, arrays, tiny_bert):
    config = point_config(tiny_bert)
    install(engine.recommender, engine.schema, random_adapter(engine.schema))
    history = device.history
    for phase, back in (("validation", 2), ("test", 1)):
        context, target = history[:-back], int(history[-back])
        window = torch.from_numpy(context_window(context, LENGTH))[None]
        scores = engine.recommender(window)[0, -1].detach().numpy()
        drawn = sample_negatives(history, 60, 20, 0, 2)
        sampled = rank_of_target(scores[[target, *drawn]][None])[0]
        others = np.setdiff1d(np.arange(60), [*context, target])
        full = rank_of_target(scores[[target, *others]][None])[0]
        ranks = device.answer(asked(config, "ranks", arrays=arrays, phase=phase))
        assert ranks == Ranks([sampled], [full])


def test_the_histogram_has_one_equal_share_per_training_item():
    vector = user_histogram(np.array([4, 1, 3, 0, 2, 5]), 8)
    assert vector.tolist() == pytest.approx([0.5, 0.5, 0, 0.5, 0.5, 0, 0, 0])
    assert np.linalg.norm(vector) <= 1 + 1e-7
    assert vector[[2, 5]].tolist() == [0, 0]  # held out


def test_an_adapter_of_another_schema_is_refused(device, arrays, tiny_bert):
    config = point_config(tiny_bert)
    short = dict(arrays)
    short.pop(next(iter(short)))
    with pytest.raises(ProtocolError, match="schema"):
        device.answer(asked(config, number=1, arrays=short))
    name = "item_bias.weight"
    with pytest.raises(ProtocolError, match="shape"):
        device.answer(asked(config, number=1, arrays=arrays | {name: arrays[name][:-1]}))
    with pytest.raises(ProtocolError, match="not finite"):
        device.answer(asked(config, number=1, arrays=arrays | {name: arrays[name] * np.nan}))


def ask(device, release, config, schema, arrays=None):
    app = create_app(lambda context, request: device, evaluator=True)
    request = asked(config, release, 3, merge=True, arrays=arrays or {}, schema=schema)
    (message,) = letters([2], request)
    return app(message, Context(1, 2, {}, RecordDict(), {})).content


def test_the_relay_passes_on_what_the_device_answers(device, engine, arrays, tiny_bert):
    config, digest = point_config(tiny_bert), engine.schema.trainable.digest
    reply = ask(device, "update", config, digest, arrays)
    update = device.answer(asked(config, number=3, arrays=arrays))
    np.testing.assert_array_equal(reply.array_records["update"]["vector"].numpy(), update.vector)
    about = {"contributors": [2], "round": 3, "policy": policy_digest("")}
    assert dict(reply.config_records["config"]) == {"schema": digest} | about
    assert dict(reply.metric_records["metrics"]) == {
        "weight": 1.0,
        "norm": update.norm,
        "ring": 0,
        "bits": 0.0,
    }
    reply = ask(device, "ranks", config, digest, arrays)
    ranks = device.answer(asked(config, "ranks", arrays=arrays))
    assert dict(reply.metric_records["metrics"]) == vars(ranks)
    reply = ask(device, "histogram", config, "")
    np.testing.assert_array_equal(
        reply.array_records["update"]["vector"].numpy(),
        device.answer(asked(config, "histogram", 0)).vector,
    )
    assert reply.config_records["config"]["schema"] == histogram_schema(60)


def test_the_relay_refuses_an_update_of_another_schema(device, arrays, tiny_bert):
    with pytest.raises(ProtocolError, match="schema"):
        ask(device, "update", point_config(tiny_bert), "other", arrays)


def test_no_text_of_an_exception_leaves_the_device(tiny_bert, monkeypatch):
    class Careless:
        def answer(self, request):
            raise ValueError("user 17 watched item 4")

    config, told = point_config(tiny_bert), []
    monkeypatch.setattr(client.app, "log", lambda level, *words: told.append(words[-1]))
    (message,) = letters([2], asked(config, "histogram", 3))
    relay = create_app(lambda context, request: Careless())  # a real node's
    with pytest.raises(ProtocolError) as caught:
        relay(message, Context(1, 2, {}, RecordDict(), {}))
    assert caught.value.__suppress_context__
    assert str(caught.value) == "the device could not answer; its own log says why"
    assert "17" in str(told[0])  # for its owner
    with pytest.raises(ValueError, match="item 4"):
        ask(Careless(), "histogram", config, "")  # a simulated person's: nobody's data


@pytest.mark.parametrize("node", [{}, {"evaluator": True}])
def test_exact_ranks_leave_no_real_node(device, engine, arrays, tiny_bert, node):
    app = create_app(lambda context, request: device)
    config = point_config(tiny_bert)
    schema = engine.schema.digest
    (message,) = letters([2], asked(config, "ranks", arrays=arrays, schema=schema, phase="test"))
    fields = app(message, Context(1, 2, node, RecordDict(), {})).content.config_records["config"]
    assert fields["declined"] == "owner"


def test_settings_travel_without_loss(tiny_bert):
    config = point_config(tiny_bert, epsilon=float("inf"))
    (message,) = letters([2], asked(config, merge=True))
    assert parse(message).config == config


def test_a_request_without_its_fields_is_refused(tiny_bert):
    (message,) = letters([2], asked(point_config(tiny_bert)))
    del message.content.config_records["config"]["round"]
    with pytest.raises(ProtocolError, match="round"):
        parse(message)


@pytest.mark.parametrize("kind", ["evaluate", "evaluate.default"])
def test_a_node_that_gives_no_ranks_opens_nothing_when_asked_for_them(kind, tiny_bert):
    """Flower brings both types to one handler."""

    def connect(context, request):
        raise AssertionError("the person's data were opened")

    (message,) = letters([2], asked(point_config(tiny_bert), "ranks"))
    message.metadata.__dict__["_message_type"] = kind
    context = Context(1, 2, {}, RecordDict(), {})
    if kind == "evaluate":
        found = create_app(connect)(message, context).content
        assert found.config_records["config"]["declined"] == "owner"
    else:
        with pytest.raises(ProtocolError, match="could not answer"):
            create_app(connect)(message, context)


@pytest.mark.parametrize("kind", ["ranks", "update", "evaluate.default", "query.secrets"])
def test_a_message_of_another_type_is_no_request(kind, tiny_bert):
    """A type that is called as a release would pass by the handler that guards it."""
    (message,) = letters([2], asked(point_config(tiny_bert)))
    message.metadata.__dict__["_message_type"] = kind
    with pytest.raises(ProtocolError, match="message type"):
        parse(message)
